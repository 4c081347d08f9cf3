package verify

import (
	"context"
	"fmt"

	"github.com/ligoonnx/ligoonnx/onnxio/crosscheck"
)

const secondLibrary = "github.com/owulveryck/onnx-go"

// secondReader has the large model decoded by a library written by others. What that library cannot read is reported and decides
// nothing; what it reads differently is a failure.
func (c *comparison) secondReader(ctx context.Context) error {
	if !c.o.SecondReader {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	res, err := crosscheck.Compare(c.large.Model)
	if err != nil {
		return inModel(c.large, err)
	}
	r := Reader{Model: "large", Library: secondLibrary, Compared: res.Decoded}
	switch {
	case !res.Decoded:
		r.Text = "not compared: " + res.Why
	case len(res.Differences) == 0:
		r.Text = fmt.Sprintf("%d nodes and %d tensors read the same", res.Nodes, res.Tensors)
	default:
		r.Text = fmt.Sprintf("%d differences", len(res.Differences))
		for _, d := range res.Differences {
			c.report.fail(FailReader, secondLibrary, d)
		}
	}
	c.report.Readers = append(c.report.Readers, r)
	return nil
}
