package dataset

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Convert gives a tensor an element type if every value is still the same afterwards; otherwise it is an error that names the element.
// NumPy makes int64 and float64 unless told otherwise, so that a strict reader would refuse most of what people have; a generous one
// would round.
func Convert(t *onnxio.Tensor, to onnxio.DType) (*onnxio.Tensor, error) {
	from := t.DType
	switch {
	case from == to || to == onnxio.Undefined:
		return t, nil
	case from.Integer() && to.Integer():
		return convertInts(t, to)
	case from.Integer() && to == onnxio.Bool:
		return convertBools(t)
	case from.Growable() && to.Growable():
		return convertFloats(t, to)
	}
	return nil, fmt.Errorf("elements are %v, the model declares %v", from, to)
}

func convertInts(t *onnxio.Tensor, to onnxio.DType) (*onnxio.Tensor, error) {
	values, err := t.Int64s()
	if err != nil {
		return nil, err
	}
	size := to.Bits() / 8
	raw := make([]byte, 0, len(values)*size)
	for i, v := range values {
		// Above the range of int64 a uint64 comes back negative: the sign of one is a value that the other lacks.
		if v < 0 && (t.DType == onnxio.Uint64 || unsigned(to)) || !fits(v, to) {
			return nil, fmt.Errorf("element %d of %v does not fit in the %v that the model declares: %d", i, t.DType, to, v)
		}
		raw = append(raw, binary.LittleEndian.AppendUint64(nil, uint64(v))[:size]...)
	}
	return onnxio.FromBytes(t.Name, to, t.Dims, raw)
}

// convertBools takes 0 and 1 for truth, as masks are kept in either form.
func convertBools(t *onnxio.Tensor) (*onnxio.Tensor, error) {
	values, err := t.Int64s()
	if err != nil {
		return nil, err
	}
	out := make([]bool, len(values))
	for i, v := range values {
		if v != 0 && v != 1 {
			return nil, fmt.Errorf("element %d of %v does not fit in the bool that the model declares: %d", i, t.DType, v)
		}
		out[i] = v == 1
	}
	return onnxio.FromBools(t.Name, t.Dims, out), nil
}

func unsigned(dt onnxio.DType) bool {
	switch dt {
	case onnxio.Uint8, onnxio.Uint16, onnxio.Uint32, onnxio.Uint64:
		return true
	}
	return false
}

func fits(v int64, dt onnxio.DType) bool {
	bits := dt.Bits()
	if bits == 64 {
		return true
	}
	if unsigned(dt) {
		return v>>bits == 0
	}
	return v>>(bits-1) == 0 || v>>(bits-1) == -1
}

func convertFloats(t *onnxio.Tensor, to onnxio.DType) (*onnxio.Tensor, error) {
	values, err := t.Float64s()
	if err != nil {
		return nil, err
	}
	out, err := onnxio.FromFloats(t.Name, to, t.Dims, values)
	if err != nil {
		return nil, err
	}
	kept, err := out.Float64s()
	if err != nil {
		return nil, err
	}
	for i, v := range values {
		if kept[i] != v && !(math.IsNaN(kept[i]) && math.IsNaN(v)) {
			return nil, fmt.Errorf("elements are %v and would be rounded to the %v that the model declares (element %d: %v to %v); convert them first",
				t.DType, to, i, v, kept[i])
		}
	}
	return out, nil
}
