package dataset

import (
	"context"
	"fmt"
	"path/filepath"
	"sort"
	"strings"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Set is one run of a model: a tensor for every input, and the outputs to expect where the source has them.
type Set struct {
	Name    string // where it came from, for messages
	Inputs  map[string]*onnxio.Tensor
	Outputs map[string]*onnxio.Tensor
	// Extra holds the arrays of an .npz file that are neither: labels, for instance.
	Extra map[string]*onnxio.Tensor
}

// Signature is what a model takes and gives. Inputs that have a default, because an initializer has the same name, may be left
// out of it.
type Signature struct {
	Inputs, Outputs []*onnxio.ValueInfo
}

// Load reads sets of tensors. Each spec is one of
//
//	FILE.npz       arrays by the names of inputs and outputs: one set
//	NAME=FILE.npy  one tensor; all specs of this form together are one set (FILE.pb holds a TensorProto)
//	FOLDER         input_0.pb, input_1.pb …, output_0.pb … in the order of the signature: one set
//	FOLDER         with folders test_data_set_0, test_data_set_1 … in it: a set for each
//
// Tensors are converted to the declared element type where every value survives that (integers to integers, floats to floats), and
// the inputs' shapes must agree with the sizes that the signature fixes.
func Load(ctx context.Context, specs []string, sig Signature) ([]Set, error) {
	var sets []Set
	named := Set{Name: "arguments", Inputs: map[string]*onnxio.Tensor{}, Outputs: map[string]*onnxio.Tensor{}}
	for _, spec := range specs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if name, file, ok := assignment(spec); ok {
			if err := named.assign(ctx, name, file, sig); err != nil {
				return nil, err
			}
			continue
		}
		var (
			more []Set
			err  error
		)
		if strings.EqualFold(filepath.Ext(spec), ".npz") {
			more, err = loadNPZ(ctx, spec, sig)
		} else {
			more, err = loadFolder(ctx, spec, sig)
		}
		if err != nil {
			return nil, err
		}
		sets = append(sets, more...)
	}
	if len(named.Inputs)+len(named.Outputs) > 0 {
		sets = append(sets, named)
	}
	for i := range sets {
		if err := sets[i].conform(sig); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

// assignment takes NAME=FILE apart. The file names of ONNX tensors hold no '=', and a path that does can be given as ./PATH.
func assignment(spec string) (name, file string, ok bool) {
	name, file, ok = strings.Cut(spec, "=")
	if !ok || name == "" || strings.HasPrefix(spec, ".") || filepath.IsAbs(spec) {
		return "", "", false
	}
	switch strings.ToLower(filepath.Ext(file)) {
	case ".npy", ".pb":
		return name, file, true
	}
	return "", "", false
}

func (s *Set) assign(ctx context.Context, name, file string, sig Signature) error {
	side := s.Inputs
	switch {
	case find(sig.Inputs, name) != nil:
	case find(sig.Outputs, name) != nil:
		side = s.Outputs
	default:
		return fmt.Errorf("%s: the model has no input %q (%s)", file, name, listed("inputs", names(sig.Inputs)))
	}
	if side[name] != nil {
		return fmt.Errorf("%s: %q is given twice", file, name)
	}
	read := readNPYFile
	if strings.EqualFold(filepath.Ext(file), ".pb") {
		read = readPB
	}
	t, err := read(ctx, file)
	if err != nil {
		return err
	}
	side[name] = t.Renamed(name)
	return nil
}

func loadNPZ(ctx context.Context, path string, sig Signature) ([]Set, error) {
	arrays, err := ReadNPZ(ctx, path)
	if err != nil {
		return nil, err
	}
	s := Set{Name: path, Inputs: map[string]*onnxio.Tensor{}, Outputs: map[string]*onnxio.Tensor{}, Extra: map[string]*onnxio.Tensor{}}
	for name, t := range arrays {
		switch {
		case find(sig.Inputs, name) != nil:
			s.Inputs[name] = t
		case find(sig.Outputs, name) != nil:
			s.Outputs[name] = t
		default:
			s.Extra[name] = t
		}
	}
	return []Set{s}, nil
}

// conform checks a set against the signature and converts its tensors to the declared element types.
func (s *Set) conform(sig Signature) error {
	for _, v := range sig.Inputs {
		if s.Inputs[v.Name] == nil {
			found := make([]string, 0, len(s.Inputs)+len(s.Extra))
			for _, m := range []map[string]*onnxio.Tensor{s.Inputs, s.Extra} {
				for name := range m {
					found = append(found, name)
				}
			}
			sort.Strings(found)
			return fmt.Errorf("%s: nothing for input %q (%s)", s.Name, v.Name, listed("found", found))
		}
		if v.Type != nil && v.Type.Kind == "tensor" {
			if err := checkShape(s.Inputs[v.Name], v.Type); err != nil {
				return fmt.Errorf("%s: %s: %w", s.Name, v.Name, err)
			}
		}
		if err := s.fit(s.Inputs, v); err != nil {
			return err
		}
	}
	// An output has the shape that its model gives it, whatever the file declares: some exporters declare what cannot be.
	for _, v := range sig.Outputs {
		if s.Outputs[v.Name] != nil {
			if err := s.fit(s.Outputs, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Set) fit(side map[string]*onnxio.Tensor, v *onnxio.ValueInfo) error {
	if v.Type == nil || v.Type.Kind != "tensor" {
		return nil
	}
	t, err := Convert(side[v.Name], v.Type.Elem)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", s.Name, v.Name, err)
	}
	side[v.Name] = t
	return nil
}

// checkShape compares with the sizes that are fixed; symbolic and unknown ones may be anything.
func checkShape(t *onnxio.Tensor, want *onnxio.Type) error {
	if !want.HasShape {
		return nil
	}
	fits := len(t.Dims) == len(want.Dims)
	for i, d := range want.Dims {
		fits = fits && (d.Param != "" || d.Value < 0 || t.Dims[i] == d.Value)
	}
	if !fits {
		return fmt.Errorf("shape is %v, the model declares [%s]", t.Dims, onnxio.DimsText(want.Dims))
	}
	return nil
}

func find(in []*onnxio.ValueInfo, name string) *onnxio.ValueInfo {
	for _, v := range in {
		if v.Name == name {
			return v
		}
	}
	return nil
}

func names(in []*onnxio.ValueInfo) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = v.Name
	}
	return out
}

// listed is "inputs: a, b" with an end, however many there are.
func listed(what string, names []string) string {
	const most = 8
	if len(names) == 0 {
		return what + ": none"
	}
	if len(names) > most {
		return fmt.Sprintf("%s: %s … and %d more", what, strings.Join(names[:most], ", "), len(names)-most)
	}
	return what + ": " + strings.Join(names, ", ")
}
