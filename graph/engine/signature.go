package engine

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// bind checks the given tensors against the signature and brings them into engine form. An input that only gives a constant a
// default may be given too.
func (e *Engine) bind(in map[string]*onnxio.Tensor) (map[string]*tensor, error) {
	want := map[string]*graph.Value{}
	var names []string
	for _, v := range e.g.Inputs {
		want[v.Name] = v
		names = append(names, v.Name)
	}
	for _, v := range e.g.Consts {
		if v.Overridable {
			want[v.Name] = v
		}
	}
	given := make([]string, 0, len(in))
	for name := range in {
		given = append(given, name)
	}
	sort.Strings(given)
	for _, name := range given {
		if want[name] == nil {
			return nil, &InputError{name, fmt.Sprintf("the model has no such input; it has %s", strings.Join(names, ", "))}
		}
	}
	dims := map[string]int64{} // sizes of the named dimensions
	owner := map[string]string{}
	out := make(map[string]*tensor, len(in))
	for _, name := range slices.Concat(names, given) {
		if out[name] != nil {
			continue
		}
		t := in[name]
		if t == nil {
			return nil, &InputError{name, "is missing"}
		}
		if err := checkInput(want[name], t, dims, owner); err != nil {
			return nil, err
		}
		k, err := fromONNX(t, e.opts.Float64)
		if err != nil {
			return nil, &InputError{name, err.Error()}
		}
		out[name] = k
	}
	return out, nil
}

func checkInput(v *graph.Value, t *onnxio.Tensor, dims map[string]int64, owner map[string]string) error {
	fail := func(format string, args ...any) error { return &InputError{v.Name, fmt.Sprintf(format, args...)} }
	ty := v.Type
	if ty == nil || ty.Kind == "" {
		return nil
	}
	if ty.Kind != "tensor" {
		return fail("the model wants a %s, only dense tensors are supported", ty.Kind)
	}
	if ty.Elem != onnxio.Undefined && t.DType != ty.Elem {
		return fail("has type %v, the model wants %v", t.DType, ty.Elem)
	}
	if !ty.HasShape {
		return nil
	}
	if len(t.Dims) != len(ty.Dims) {
		return fail("has shape %v, the model wants rank %d", t.Dims, len(ty.Dims))
	}
	for i, d := range ty.Dims {
		got := t.Dims[i]
		switch {
		case d.Param != "":
			if have, ok := dims[d.Param]; ok && have != got {
				return fail("dimension %d (%s) is %d, but input %q has %d there", i, d.Param, got, owner[d.Param], have)
			}
			dims[d.Param], owner[d.Param] = got, v.Name
		case d.Value >= 0 && d.Value != got:
			return fail("has shape %v, the model wants %d in dimension %d", t.Dims, d.Value, i)
		}
	}
	return nil
}
