package corpus

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// IgnoreIndex is the label of what is not to be predicted, as in PyTorch.
const IgnoreIndex = -100

// Batch is what one step is computed on.
type Batch struct {
	Inputs map[string]*onnxio.Tensor
	// Labels are nil where the objective has none (distillation).
	Labels *onnxio.Tensor
	// Examples is the number of rows.
	Examples int64
	// Tokens counts the elements of the token ids without padding; 0 for a model that takes none.
	Tokens int64
	// Targets counts the labels that are not IgnoreIndex: the weight of this batch in a mean over several. Without labels it is Tokens,
	// or else Examples.
	Targets int64
}

// example is one row of a batch: tensors without the batch axis.
type example struct {
	where  string
	inputs map[string]*onnxio.Tensor
	labels *onnxio.Tensor
}

// ints reads a tensor of one axis of integers.
func ints(t *onnxio.Tensor) ([]int64, error) {
	if len(t.Dims) != 1 {
		return nil, fmt.Errorf("has shape %v; expected one axis", t.Dims)
	}
	return t.Int64s()
}

// stack puts tensors together along a new first axis. Where they differ in length along their first axis, shorter ones are filled up
// with pad; length is the least length, 0 for none.
func stack(name string, parts []*onnxio.Tensor, length, pad int64) (*onnxio.Tensor, error) {
	first := parts[0]
	ragged := len(first.Dims) > 0
	if ragged {
		for _, p := range parts {
			if len(p.Dims) > 0 {
				length = max(length, p.Dims[0])
			}
		}
	}
	dims := append([]int64{int64(len(parts))}, first.Dims...)
	if ragged {
		dims[1] = length
	}
	var raw []byte
	for i, p := range parts {
		if p.DType != first.DType || len(p.Dims) != len(first.Dims) || ragged && !slices.Equal(p.Dims[1:], first.Dims[1:]) {
			return nil, fmt.Errorf("%s: example %d of a batch has %v of shape %v, the first has %v of shape %v", name, i, p.DType, p.Dims, first.DType, first.Dims)
		}
		bytes, err := p.Bytes()
		if err != nil {
			return nil, err
		}
		raw = append(raw, bytes...)
		if !ragged || p.Dims[0] == length {
			continue
		}
		unit, err := element(p.DType, pad)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		missing := length - p.Dims[0]
		for _, d := range p.Dims[1:] {
			missing *= d
		}
		for range missing {
			raw = append(raw, unit...)
		}
	}
	return onnxio.FromBytes(name, first.DType, dims, raw)
}

// element is a number in the form it has in a tensor.
func element(dt onnxio.DType, v int64) ([]byte, error) {
	if dt.Growable() {
		t, err := onnxio.FromFloats("", dt, nil, []float64{float64(v)})
		if err != nil {
			return nil, err
		}
		return t.Bytes()
	}
	t, err := onnxio.FromInts("", dt, nil, []int64{v})
	if err != nil {
		return nil, err
	}
	return t.Bytes()
}
