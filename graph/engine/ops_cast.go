package engine

import (
	"fmt"
	"math"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func init() {
	simple("", "Cast", 1, 1, func(s *step) (operator, error) {
		a := s.attr("to")
		if a == nil {
			return nil, fmt.Errorf("attribute \"to\" is missing")
		}
		to := onnxio.DType(a.I)
		if a.Kind == onnxio.AttrString { // opset 1 to 5 named the type
			var ok bool
			if to, ok = oldTypeNames[string(a.S)]; !ok {
				return nil, fmt.Errorf("unknown type %q", a.S)
			}
		}
		return castOp{to}, nil
	})
	simple("", "CastLike", 2, 2, func(*step) (operator, error) { return castOp{onnxio.Undefined}, nil })
}

var oldTypeNames = map[string]onnxio.DType{"FLOAT": onnxio.Float, "DOUBLE": onnxio.Double, "FLOAT16": onnxio.Float16,
	"INT64": onnxio.Int64, "INT32": onnxio.Int32, "INT16": onnxio.Int16, "INT8": onnxio.Int8, "BOOL": onnxio.Bool,
	"UINT8": onnxio.Uint8, "UINT16": onnxio.Uint16, "UINT32": onnxio.Uint32, "UINT64": onnxio.Uint64}

// castOp converts to a type; undefined means the second operand's.
type castOp struct{ to onnxio.DType }

func (o castOp) infer(in []*value) ([]spec, error) {
	to := o.to
	if to == onnxio.Undefined && len(in) > 1 {
		to = in[1].dt
	}
	for _, dt := range []onnxio.DType{in[0].dt, to} {
		if elemBytes(dt, false) == 0 {
			return nil, fmt.Errorf("casting %v to %v is not supported", in[0].dt, to)
		}
	}
	return []spec{in[0].as(to)}, nil
}

func (o castOp) forward(x *exec, in, out []*tensor) error {
	if err := convertBuffer(out[0].buf, in[0].buf); err != nil {
		return err
	}
	if b, ok := out[0].buf.(buf[float32]); ok && out[0].dt != onnxio.Float && in[0].dt != out[0].dt {
		return roundTo(out[0].dt, b)
	}
	return nil
}

// convertBuffer converts every element: floats to integers truncate, anything but zero is true.
func convertBuffer(dst, src buffer) error {
	switch s := src.(type) {
	case buf[float32]:
		return convertFrom(dst, s)
	case buf[float64]:
		return convertFrom(dst, s)
	case buf[int64]:
		return convertFrom(dst, s)
	case buf[int32]:
		return convertFrom(dst, s)
	case buf[int16]:
		return convertFrom(dst, s)
	case buf[int8]:
		return convertFrom(dst, s)
	case buf[uint64]:
		return convertFrom(dst, s)
	case buf[uint32]:
		return convertFrom(dst, s)
	case buf[uint16]:
		return convertFrom(dst, s)
	case buf[uint8]:
		return convertFrom(dst, s)
	case buf[bool]:
		n := make(buf[uint8], len(s))
		for i, v := range s {
			if v {
				n[i] = 1
			}
		}
		return convertFrom(dst, n)
	}
	return fmt.Errorf("cannot convert from %T", src)
}

func convertFrom[S kernel.Number](dst buffer, src buf[S]) error {
	switch d := dst.(type) {
	case buf[float32]:
		convertTo(d, src)
	case buf[float64]:
		convertTo(d, src)
	case buf[int64]:
		convertTo(d, src)
	case buf[int32]:
		convertTo(d, src)
	case buf[int16]:
		convertTo(d, src)
	case buf[int8]:
		convertTo(d, src)
	case buf[uint64]:
		convertTo(d, src)
	case buf[uint32]:
		convertTo(d, src)
	case buf[uint16]:
		convertTo(d, src)
	case buf[uint8]:
		convertTo(d, src)
	case buf[bool]:
		for i, v := range src {
			d[i] = v != 0
		}
	default:
		return fmt.Errorf("cannot convert to %T", dst)
	}
	return nil
}

// convertTo leaves to Go what a conversion of a value out of range gives, as ONNX leaves it undefined, but fixes NaN at 0: Go's
// result for it differs between machines.
func convertTo[D, S kernel.Number](dst []D, src []S) {
	var half D = 1
	toInt := half/2 == 0
	for i, v := range src {
		if toInt && v != v {
			dst[i] = 0
			continue
		}
		if toInt {
			if f := float64(v); math.IsInf(f, 0) {
				v = S(math.Copysign(math.MaxInt64, f))
			}
		}
		dst[i] = D(v)
	}
}
