// A module of its own: it needs cgo, which nothing in the product does.
module github.com/ligoonnx/ligoonnx/internal/bench/openblas

go 1.26

require github.com/ligoonnx/ligoonnx v0.0.0

require golang.org/x/sys v0.36.0

replace github.com/ligoonnx/ligoonnx => ../../..
