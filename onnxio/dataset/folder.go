package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// loadFolder reads a test data set, or all of those in a model's folder.
func loadFolder(ctx context.Context, dir string, sig Signature) ([]Set, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: not a data set: expected FILE.npz, NAME=FILE.npy or a test_data_set folder", dir)
		}
		return nil, err
	}
	var sets []string
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), "test_data_set_") {
			sets = append(sets, filepath.Join(dir, e.Name()))
		}
		if strings.HasPrefix(e.Name(), "input_") && strings.HasSuffix(e.Name(), ".pb") {
			s, err := loadSet(ctx, dir, entries, sig)
			if err != nil {
				return nil, err
			}
			return []Set{s}, nil
		}
	}
	if len(sets) == 0 {
		return nil, fmt.Errorf("%s: found neither input_0.pb nor a folder test_data_set_0", dir)
	}
	// By number: test_data_set_10 follows test_data_set_9.
	sort.SliceStable(sets, func(i, j int) bool {
		if len(sets[i]) != len(sets[j]) {
			return len(sets[i]) < len(sets[j])
		}
		return sets[i] < sets[j]
	})
	var out []Set
	for _, set := range sets {
		entries, err := os.ReadDir(set)
		if err != nil {
			return nil, err
		}
		s, err := loadSet(ctx, set, entries, sig)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// loadSet reads input_N.pb and output_N.pb. The number decides which input it is: names inside the files are optional and, in
// files that others publish, not always right.
func loadSet(ctx context.Context, dir string, entries []os.DirEntry, sig Signature) (Set, error) {
	s := Set{Name: dir, Inputs: map[string]*onnxio.Tensor{}, Outputs: map[string]*onnxio.Tensor{}}
	for _, e := range entries {
		stem, isPB := strings.CutSuffix(e.Name(), ".pb")
		kind, digits, numbered := strings.Cut(stem, "_")
		side, declared := s.Inputs, sig.Inputs
		switch {
		case !isPB || !numbered || kind != "input" && kind != "output":
			continue
		case kind == "output":
			side, declared = s.Outputs, sig.Outputs
		}
		file := filepath.Join(dir, e.Name())
		n, err := strconv.ParseUint(digits, 10, 31)
		if err != nil {
			return s, fmt.Errorf("%s: expected a name such as %s_0.pb", file, kind)
		}
		if int(n) >= len(declared) {
			return s, fmt.Errorf("%s: the model has no %s number %d (%s)", file, kind, n, listed(kind+"s", names(declared)))
		}
		t, err := readPB(ctx, file)
		if err != nil {
			return s, err
		}
		side[declared[n].Name] = t.Renamed(declared[n].Name)
	}
	return s, nil
}

// readPB reads a file that holds one TensorProto.
func readPB(ctx context.Context, file string) (*onnxio.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return onnxio.ReadTensorFile(file)
}
