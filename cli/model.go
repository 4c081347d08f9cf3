package cli

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
	"github.com/ligoonnx/ligoonnx/verify"
)

// open reads a model and links its graph. The model must be closed.
func (p *program) open(c *cli.Context, path string) (verify.Model, error) {
	p.term.step("reading "+path, 0, 0, "")
	m, err := onnxio.Read(path, onnxio.ReadOptions{ForceIR: c.Bool("force-ir")})
	if err != nil {
		return verify.Model{}, err
	}
	v, err := verify.Load(path, m)
	if err != nil {
		_ = m.Close() // nothing was written; what matters is the other error
		return verify.Model{}, inFile(path, err)
	}
	return v, nil
}

// analyse opens a model and finds out what it is.
func (p *program) analyse(c *cli.Context, path string) (verify.Model, *ligo.Analysis, error) {
	m, err := p.open(c, path)
	if err != nil {
		return m, nil, err
	}
	p.term.step("analysing "+path, 0, 0, "")
	a, err := ligo.Analyse(c.Context, m.Graph)
	if err != nil {
		_ = m.Model.Close() // see open
		return m, nil, inFile(path, err)
	}
	return m, a, nil
}

// load reads sets of tensors for a model.
func (p *program) load(ctx context.Context, specs []string, m verify.Model) ([]dataset.Set, error) {
	if len(specs) == 0 {
		return nil, nil
	}
	sig := dataset.Signature{Outputs: m.Model.Graph.Outputs}
	given := map[string]bool{}
	for _, v := range m.Graph.Inputs {
		given[v.Name] = true
	}
	for _, v := range m.Model.Graph.Inputs {
		if given[v.Name] { // not those with a default
			sig.Inputs = append(sig.Inputs, v)
		}
	}
	sets, err := dataset.Load(ctx, specs, sig)
	if err != nil && ctx.Err() == nil && exitCode(err) == exitError && !isSystem(err) {
		err = &usageError{err.Error()} // tensors that do not fit the model
	}
	return sets, err
}
