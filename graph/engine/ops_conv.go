package engine

import (
	"errors"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func init() {
	register("", "Conv", 2, 3, func(c *compiler, s *step, in []*value) ([]*value, error) {
		w, err := newWindow(s, in[0].rank()-2)
		if err != nil {
			return nil, err
		}
		return c.apply(s.label, &convOp{window: w, group: int(s.int("group", 1))}, in...)
	})
	register("", "MaxPool", 1, 1, func(c *compiler, s *step, in []*value) ([]*value, error) {
		w, err := newWindow(s, in[0].rank()-2)
		if err != nil {
			return nil, err
		}
		return c.apply(s.label, &maxPoolOp{window: w, columnMajor: s.int("storage_order", 0) == 1}, in...)
	})
	register("", "AveragePool", 1, 1, func(c *compiler, s *step, in []*value) ([]*value, error) {
		w, err := newWindow(s, in[0].rank()-2)
		if err != nil {
			return nil, err
		}
		return c.apply(s.label, &avgPoolOp{window: w, countPad: s.flag("count_include_pad", false)}, in...)
	})
	for name, op := range map[string]kernel.ReduceOp{"GlobalAveragePool": kernel.ReduceMean, "GlobalMaxPool": kernel.ReduceMax} {
		register("", name, 1, 1, func(c *compiler, s *step, in []*value) ([]*value, error) {
			v := in[0]
			if v.rank() < 3 {
				return nil, fmt.Errorf("operand of rank %d", v.rank())
			}
			shape := append([]int(nil), v.shape[:2]...)
			for range v.rank() - 2 {
				shape = append(shape, 1)
			}
			r, err := c.one(s.label, &reduceOp{op: op, first: 2, last: v.rank() - 1}, v)
			if err != nil {
				return nil, err
			}
			r, err = c.reshape(s.label, r, shape)
			return []*value{r}, err
		})
	}
}

// window is the geometry attributes of convolutions and poolings.
type window struct {
	kernel.Window
	auto     string
	ceil     bool
	declared []int64 // kernel_shape
}

func newWindow(s *step, dims int) (*window, error) {
	if dims < 1 {
		return nil, fmt.Errorf("operand of rank %d has no spatial dimensions", dims+2)
	}
	w := &window{auto: s.str("auto_pad", "NOTSET"), ceil: s.flag("ceil_mode", false), declared: s.ints("kernel_shape")}
	read := func(name string, n int, def int) ([]int, error) {
		v := s.ints(name)
		out := make([]int, n)
		for i := range out {
			out[i] = def
		}
		if v == nil {
			return out, nil
		}
		if len(v) != n {
			return nil, fmt.Errorf("%s has %d numbers for %d spatial dimensions", name, len(v), dims)
		}
		for i, x := range v {
			if x < int64(def) || x > 1<<24 { // strides and dilations of at least 1, pads of at least 0
				return nil, fmt.Errorf("%s is %v", name, v)
			}
			out[i] = int(x)
		}
		return out, nil
	}
	var err error
	if w.Strides, err = read("strides", dims, 1); err != nil {
		return nil, err
	}
	if w.Dilations, err = read("dilations", dims, 1); err != nil {
		return nil, err
	}
	w.Pads, err = read("pads", 2*dims, 0)
	return w, err
}

// fit computes pads and output sizes for an input and kernel.
func (w *window) fit(in, ker []int) error {
	d := len(in)
	if w.declared != nil {
		if len(w.declared) != d {
			return fmt.Errorf("kernel_shape %v for %d spatial dimensions", w.declared, d)
		}
		if ker != nil && fmt.Sprint(toInts(w.declared)) != fmt.Sprint(ker) {
			return fmt.Errorf("kernel_shape %v for weights of %v", w.declared, ker)
		}
		ker = toInts(w.declared)
	}
	if ker == nil {
		return errors.New("no kernel_shape")
	}
	w.In, w.Kernel, w.Out = in, ker, make([]int, d)
	w.Pads = append([]int(nil), w.Pads...)
	for i := range d {
		if ker[i] < 1 || ker[i] > 1<<24 {
			return fmt.Errorf("kernel of size %v", ker)
		}
		reach := (ker[i]-1)*w.Dilations[i] + 1
		switch w.auto {
		case "NOTSET", "":
		case "VALID":
			w.Pads[i], w.Pads[d+i] = 0, 0
		case "SAME_UPPER", "SAME_LOWER":
			out := (in[i] + w.Strides[i] - 1) / w.Strides[i]
			total := max(0, (out-1)*w.Strides[i]+reach-in[i])
			w.Pads[i], w.Pads[d+i] = total/2, total-total/2
			if w.auto == "SAME_LOWER" {
				w.Pads[i], w.Pads[d+i] = w.Pads[d+i], w.Pads[i]
			}
		default:
			return fmt.Errorf("unknown auto_pad %q", w.auto)
		}
		room := in[i] + w.Pads[i] + w.Pads[d+i] - reach
		if room < 0 {
			return fmt.Errorf("a kernel reaching over %d positions for a dimension of %d with pads %v", reach, in[i], w.Pads)
		}
		w.Out[i] = room/w.Strides[i] + 1
		if w.ceil && room%w.Strides[i] != 0 && w.Out[i]*w.Strides[i] < in[i]+w.Pads[i] {
			w.Out[i]++ // a last window that starts inside the input or its leading pad
		}
	}
	return nil
}

// convOp is a convolution: operands x, weights and bias (optional).
type convOp struct {
	window    *window
	group     int
	cin, cout int // per group
}

func (*convOp) heavy() {}

func (o *convOp) infer(in []*value) ([]spec, error) {
	x, w := in[0], in[1]
	if !isFloat(x.dt) || w.dt != x.dt || w.rank() != x.rank() {
		return nil, fmt.Errorf("operands %v and %v", x.spec, w.spec)
	}
	if o.group < 1 || x.shape[1] != w.shape[1]*o.group || w.shape[0]%o.group != 0 {
		return nil, fmt.Errorf("operands of shapes %v and %v in %d groups", x.shape, w.shape, o.group)
	}
	o.cin, o.cout = w.shape[1], w.shape[0]/o.group
	if b := operand(in, 2); b != nil && (b.rank() != 1 || b.shape[0] != w.shape[0]) {
		return nil, fmt.Errorf("bias of shape %v for %d channels", b.shape, w.shape[0])
	}
	if err := o.window.fit(x.shape[2:], w.shape[2:]); err != nil {
		return nil, err
	}
	return []spec{x.with(append([]int{x.shape[0], w.shape[0]}, o.window.Out...))}, nil
}

func (o *convOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		return conv(x, o, d, in)
	case buf[float64]:
		return conv(x, o, d, in)
	}
	return errType(in[0])
}

func conv[T kernel.Float](x *exec, o *convOp, y []T, in []*tensor) error {
	var p [3][]T
	for i, t := range in {
		if t == nil {
			continue
		}
		v, err := floatsOf[T](t)
		if err != nil {
			return err
		}
		p[i] = v
	}
	kernel.Conv(x.threads, &o.window.Window, y, p[0], p[1], p[2], in[0].shape[0], o.group, o.cin, o.cout)
	return nil
}

// maxPoolOp has two outputs: the largest elements and their positions.
type maxPoolOp struct {
	window      *window
	columnMajor bool
}

func (*maxPoolOp) heavy() {}

func (o *maxPoolOp) infer(in []*value) ([]spec, error) {
	x := in[0]
	if err := o.window.fit(x.shape[2:], nil); err != nil {
		return nil, err
	}
	shape := append([]int{x.shape[0], x.shape[1]}, o.window.Out...)
	return []spec{x.with(shape), {onnxio.Int64, shape}}, nil
}

func (o *maxPoolOp) forward(x *exec, in, out []*tensor) error {
	planes := in[0].shape[0] * in[0].shape[1]
	var index []int64
	if len(out) > 1 && out[1] != nil {
		index = out[1].buf.(buf[int64])
	}
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.MaxPool(x.threads, &o.window.Window, d, in[0].buf.(buf[float32]), index, planes, o.columnMajor)
	case buf[float64]:
		kernel.MaxPool(x.threads, &o.window.Window, d, in[0].buf.(buf[float64]), index, planes, o.columnMajor)
	case buf[uint8]:
		kernel.MaxPool(x.threads, &o.window.Window, d, in[0].buf.(buf[uint8]), index, planes, o.columnMajor)
	case buf[int8]:
		kernel.MaxPool(x.threads, &o.window.Window, d, in[0].buf.(buf[int8]), index, planes, o.columnMajor)
	default:
		return errType(in[0])
	}
	return nil
}

type avgPoolOp struct {
	window   *window
	countPad bool
}

func (*avgPoolOp) heavy() {}

func (o *avgPoolOp) infer(in []*value) ([]spec, error) {
	x := in[0]
	if !isFloat(x.dt) {
		return nil, fmt.Errorf("operand of type %v", x.dt)
	}
	if err := o.window.fit(x.shape[2:], nil); err != nil {
		return nil, err
	}
	return []spec{x.with(append([]int{x.shape[0], x.shape[1]}, o.window.Out...))}, nil
}

func (o *avgPoolOp) forward(x *exec, in, out []*tensor) error {
	planes := in[0].shape[0] * in[0].shape[1]
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.AveragePool(x.threads, &o.window.Window, d, in[0].buf.(buf[float32]), planes, o.countPad)
	case buf[float64]:
		kernel.AveragePool(x.threads, &o.window.Window, d, in[0].buf.(buf[float64]), planes, o.countPad)
	default:
		return errType(in[0])
	}
	return nil
}
