package engine

import (
	"fmt"
	"math"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func init() {
	plain := map[string]kernel.Unary{
		"Exp": kernel.Exp, "Log": kernel.Log, "Sqrt": kernel.Sqrt, "Reciprocal": kernel.Reciprocal, "Tanh": kernel.Tanh,
		"Erf": kernel.Erf, "Sigmoid": kernel.Sigmoid, "Relu": kernel.Relu, "Sin": kernel.Sin, "Cos": kernel.Cos,
		"Tan": kernel.Tan, "Asin": kernel.Asin, "Acos": kernel.Acos, "Atan": kernel.Atan, "Sinh": kernel.Sinh,
		"Cosh": kernel.Cosh, "Asinh": kernel.Asinh, "Acosh": kernel.Acosh, "Atanh": kernel.Atanh, "Floor": kernel.Floor,
		"Ceil": kernel.Ceil, "Round": kernel.Round, "Softplus": kernel.Softplus, "Softsign": kernel.Softsign,
		"HardSwish": kernel.HardSwish, "Mish": kernel.Mish,
	}
	for name, f := range plain {
		simple("", name, 1, 1, func(*step) (operator, error) { return unaryOp{f: f, name: name}, nil })
	}
	with := map[string]func(s *step) kernel.Unary{
		"LeakyRelu":       func(s *step) kernel.Unary { return kernel.LeakyRelu(s.float("alpha", 0.01)) },
		"Elu":             func(s *step) kernel.Unary { return kernel.Elu(s.float("alpha", 1)) },
		"Celu":            func(s *step) kernel.Unary { return kernel.Celu(s.float("alpha", 1)) },
		"ThresholdedRelu": func(s *step) kernel.Unary { return kernel.ThresholdedRelu(s.float("alpha", 1)) },
		"Swish":           func(s *step) kernel.Unary { return kernel.SiLU(s.float("alpha", 1)) },
		"Selu": func(s *step) kernel.Unary {
			return kernel.Selu(s.float("alpha", 1.67326319217681884765625), s.float("gamma", 1.05070102214813232421875))
		},
		"HardSigmoid": func(s *step) kernel.Unary {
			return kernel.HardSigmoid(s.float("alpha", 0.2), s.float("beta", 0.5))
		},
	}
	for name, f := range with {
		simple("", name, 1, 1, func(s *step) (operator, error) { return unaryOp{f: f(s), name: name}, nil })
	}
	simple("", "Gelu", 1, 1, func(s *step) (operator, error) {
		switch a := s.str("approximate", "none"); a {
		case "none":
			return unaryOp{f: kernel.Gelu, name: "Gelu"}, nil
		case "tanh":
			return unaryOp{f: kernel.GeluTanh, name: "Gelu"}, nil
		default:
			return nil, fmt.Errorf("unknown approximation %q", a)
		}
	})
	simple(microsoft, "Gelu", 1, 1, func(*step) (operator, error) { return unaryOp{f: kernel.Gelu, name: "Gelu"}, nil })
	simple(microsoft, "QuickGelu", 1, 1, func(s *step) (operator, error) {
		return unaryOp{f: kernel.SiLU(s.float("alpha", 1.702)), name: "Swish"}, nil
	})
	biased := func(f kernel.Unary) builder {
		return func(c *compiler, s *step, in []*value) ([]*value, error) {
			v := in[0]
			if b := operand(in, 1); b != nil {
				var err error
				if v, err = c.one(s.label, &binaryOp{op: kernel.Add}, v, b); err != nil {
					return nil, err
				}
			}
			return c.apply(s.label, unaryOp{f: f, name: "Gelu"}, v)
		}
	}
	register(microsoft, "BiasGelu", 2, 2, biased(kernel.Gelu))
	register(microsoft, "FastGelu", 1, 2, biased(kernel.GeluTanh))
	simple("", "Neg", 1, 1, func(*step) (operator, error) { return signOp{negate}, nil })
	simple("", "Abs", 1, 1, func(*step) (operator, error) { return signOp{absolute}, nil })
	simple("", "Sign", 1, 1, func(*step) (operator, error) { return signOp{signum}, nil })
}

// unaryOp is an elementwise function of a floating tensor.
type unaryOp struct {
	f    kernel.Unary
	name string // as ONNX has it
}

func (o unaryOp) infer(in []*value) ([]spec, error) {
	if !isFloat(in[0].dt) {
		return nil, fmt.Errorf("operand of type %v", in[0].dt)
	}
	return []spec{in[0].spec}, nil
}

func (o unaryOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.Map(x.threads, d, in[0].buf.(buf[float32]), o.f.F32)
	case buf[float64]:
		kernel.Map(x.threads, d, in[0].buf.(buf[float64]), o.f.F64)
	default:
		return errType(in[0])
	}
	return nil
}

type signKind int

const (
	negate signKind = iota
	absolute
	signum
)

// signOp is negation, absolute value or sign of any number.
type signOp struct{ kind signKind }

func (o signOp) infer(in []*value) ([]spec, error) {
	if !isFloat(in[0].dt) && !in[0].dt.Integer() {
		return nil, fmt.Errorf("operand of type %v", in[0].dt)
	}
	return []spec{in[0].spec}, nil
}

func (o signOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		signs(x, o.kind, d, in[0].buf.(buf[float32]))
	case buf[float64]:
		signs(x, o.kind, d, in[0].buf.(buf[float64]))
	case buf[int64]:
		signs(x, o.kind, d, in[0].buf.(buf[int64]))
	case buf[int32]:
		signs(x, o.kind, d, in[0].buf.(buf[int32]))
	case buf[int16]:
		signs(x, o.kind, d, in[0].buf.(buf[int16]))
	case buf[int8]:
		signs(x, o.kind, d, in[0].buf.(buf[int8]))
	case buf[uint64]:
		signs(x, o.kind, d, in[0].buf.(buf[uint64]))
	case buf[uint32]:
		signs(x, o.kind, d, in[0].buf.(buf[uint32]))
	case buf[uint16]:
		signs(x, o.kind, d, in[0].buf.(buf[uint16]))
	case buf[uint8]:
		signs(x, o.kind, d, in[0].buf.(buf[uint8]))
	default:
		return errType(in[0])
	}
	return nil
}

func signs[T kernel.Number](x *exec, kind signKind, dst, src []T) {
	kernel.Map(x.threads, dst, src, func(dst, src []T) {
		for i, v := range src {
			switch {
			case kind == negate:
				v = -v
			case kind == absolute:
				if v < 0 {
					v = -v
				} else if v == 0 {
					v = T(math.Abs(float64(v))) // of minus zero
				}
			case v > 0:
				v = 1
			case v < 0:
				var zero T
				v = zero - 1
			}
			dst[i] = v
		}
	})
}

func (unaryOp) inPlace(int) bool { return true }

func (signOp) inPlace(int) bool { return true }
