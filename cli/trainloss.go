package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/ligo/train/corpus"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
	"github.com/ligoonnx/ligoonnx/verify"
)

// guessLoss finds the loss that model and flags leave.
func (t *training) guessLoss(ctx context.Context) (train.Loss, error) {
	d, g := &t.data, t.m.Graph
	switch {
	case d.teacher != "":
		return train.Distill, nil
	case d.maskToken >= 0:
		return train.MaskedLM, nil
	}
	if names := outputNames(g); d.output != "" && !slices.Contains(names, d.output) {
		return "", usagef("train: --output: %s has no output %q%s; outputs are %s", t.in, d.output, suggest(d.output, names), strings.Join(names, ", "))
	}
	ids, rows := corpus.TokenInput(g)
	if out := vocabularyOutput(g, d.output, rows); ids != "" && out != "" {
		causal, err := isCausal(ctx, g, ids, rows, out)
		if err != nil {
			return "", inFile(t.in, err)
		}
		if causal {
			return train.CausalLM, nil
		}
		return "", usagef("train: the outputs of %s see later tokens, so this is no causal language model; pass --loss masked-lm with --mask-token ID, or another --loss", t.in)
	}
	var rank2 int
	for _, v := range g.Outputs {
		if v.Type != nil && v.Type.HasShape && len(v.Type.Dims) == 2 && v.Type.Elem.Growable() && (d.output == "" || d.output == v.Name) {
			rank2++
		}
	}
	if rank2 == 1 && (len(g.Outputs) == 1 || d.output != "") {
		return train.Classify, nil
	}
	return "", usagef("train: which loss %s is to be trained with is not clear from its outputs (%s); pass --loss %s", t.in, strings.Join(outputNames(g), ", "), strings.Join(lossNames, ", "))
}

func outputNames(g *graph.Graph) []string {
	var names []string
	for _, v := range g.Outputs {
		names = append(names, v.Name)
	}
	return names
}

// vocabularyOutput finds the output that has a value for every token: logits of a language model.
func vocabularyOutput(g *graph.Graph, only string, rows int64) string {
	for _, v := range g.Outputs {
		if only != "" && v.Name != only || v.Type == nil || len(v.Type.Dims) != 3 {
			continue
		}
		if last := v.Type.Dims[2]; last.Param == "" && last.Value == rows {
			return v.Name
		}
	}
	return ""
}

// isCausal runs a model twice on inputs that differ in the last token and reports whether the outputs before it are the same.
func isCausal(ctx context.Context, g *graph.Graph, ids string, rows int64, out string) (bool, error) {
	e, err := engine.New(g, engine.Options{})
	if err != nil {
		return false, err
	}
	set, err := verify.Synthesize(ctx, g, e, 0)
	if err != nil {
		return false, err
	}
	var runs [2][]float64
	var dims []int64
	for i := range runs {
		result, err := e.Run(ctx, set.Inputs)
		if err != nil {
			return false, err
		}
		if runs[i], err = result[out].Float64s(); err != nil {
			return false, err
		}
		dims = result[out].Dims
		x := set.Inputs[ids]
		v, err := x.Int64s()
		if err != nil {
			return false, err
		}
		v = slices.Clone(v)
		for at := x.Dims[1] - 1; at < int64(len(v)); at += x.Dims[1] {
			v[at] = (v[at] + 1) % rows
		}
		if set.Inputs[ids], err = dataset.Convert(onnxio.FromInt64s(ids, x.Dims, v), x.DType); err != nil {
			return false, err
		}
	}
	length, width := dims[1], dims[2]
	before, largest := 0.0, 0.0
	for i := range runs[0] {
		d := math.Abs(runs[0][i] - runs[1][i])
		largest = max(largest, d)
		if int64(i)/width%length < length-1 {
			before = max(before, d)
		}
	}
	if largest == 0 {
		return false, errors.New("its outputs do not depend on the last token, so whether they see later ones cannot be told; pass --loss")
	}
	// The last position shows how much a token matters; before it nothing may change but rounding.
	return before <= 1e-5*largest, nil
}

// teacher is the model that another is to become like.
type teacher struct {
	m      verify.Model
	e      *engine.Engine
	output string
	id     string
}

func (t *training) openTeacher() (_ *teacher, err error) {
	m, err := t.open(t.c, t.data.teacher)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Model.Close())
		}
	}()
	k := &teacher{m: m, id: filepath.Base(m.Path)}
	var given []string
	for _, v := range t.m.Graph.Inputs {
		given = append(given, v.Name)
	}
	for _, v := range m.Graph.Inputs {
		if !slices.Contains(given, v.Name) {
			return nil, usagef("train: --teacher: %s takes an input %q that %s does not have (inputs: %s)", m.Path, v.Name, t.in, strings.Join(given, ", "))
		}
	}
	for _, v := range m.Graph.Outputs {
		if v.Name == t.task.Output {
			k.output = v.Name
		}
	}
	if k.output == "" && len(m.Graph.Outputs) == 1 {
		k.output = m.Graph.Outputs[0].Name
	}
	if k.output == "" {
		return nil, usagef("train: --teacher: %s has no output %q (outputs: %s)", m.Path, t.task.Output, strings.Join(outputNames(m.Graph), ", "))
	}
	k.e, err = engine.New(m.Graph, engine.Options{MaxMemory: t.o.MaxMemory, Threads: t.o.Threads, Outputs: []string{k.output}})
	return k, inFile(m.Path, err)
}

func (k *teacher) run(ctx context.Context, all map[string]*onnxio.Tensor) (*onnxio.Tensor, error) {
	in := map[string]*onnxio.Tensor{}
	for _, v := range k.m.Graph.Inputs {
		in[v.Name] = all[v.Name]
	}
	out, err := k.e.Run(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("teacher: %w", inFile(k.m.Path, err))
	}
	return out[k.output], nil
}
