package train

import (
	"fmt"
	"io"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/onnxio/safetensors"
)

// namedFloats is a tensor of a checkpoint's file.
type namedFloats struct {
	name   string
	shape  []int
	values engine.Floats
}

// tensor is t as a file has it; its values are read into it, too.
func (t namedFloats) tensor() safetensors.Tensor {
	out := safetensors.Tensor{Name: t.name, DType: safetensors.F32, Shape: make([]int64, len(t.shape)), Values: t.values.F32}
	for i, d := range t.shape {
		out.Shape[i] = int64(d)
	}
	if t.values.F64 != nil {
		out.DType, out.Values = safetensors.F64, t.values.F64
	}
	return out
}

// writeSafetensors writes tensors in the given order.
func writeSafetensors(w io.Writer, tensors []namedFloats) error {
	out := make([]safetensors.Tensor, len(tensors))
	for i, t := range tensors {
		out[i] = t.tensor()
	}
	return safetensors.Write(w, nil, out)
}

// readSafetensors fills the values of the tensors that are wanted from a file of the given size, which must hold exactly those, in these
// types and shapes.
func readSafetensors(r io.ReaderAt, size int64, want []namedFloats) error {
	f, err := safetensors.Open(r, size)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, w := range want {
		t := w.tensor()
		e, ok := f.Tensor(t.Name)
		if !ok {
			return fmt.Errorf("it holds no tensor %q", t.Name)
		}
		if e.DType != t.DType || !slices.Equal(e.Shape, t.Shape) {
			return fmt.Errorf("tensor %q is %.20s of shape %.100s, not %s of shape %v", t.Name, e.DType, fmt.Sprint(e.Shape), t.DType, t.Shape)
		}
		if err := f.Read(t.Name, t.Values); err != nil {
			return err
		}
		wanted[t.Name] = true
	}
	for _, e := range f.Tensors {
		if !wanted[e.Name] {
			return fmt.Errorf("it holds a tensor %.100q, which the model does not train", e.Name)
		}
	}
	return nil
}
