package verify_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/verify"
)

// reread writes a model and reads it again: what is verified are files.
func reread(t *testing.T, m *onnxio.Model) verify.Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := onnxio.Write(context.Background(), m, path, onnxio.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	r, err := onnxio.Read(path, onnxio.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return load(t, r)
}

func load(t *testing.T, m *onnxio.Model) verify.Model {
	t.Helper()
	v, err := verify.Load("model.onnx", m)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// grow is a growth as expand does it, read again from its file.
func grow(t *testing.T, small verify.Model, target ligo.Target, o ligo.Options) verify.Model {
	t.Helper()
	ctx := context.Background()
	a, err := ligo.Analyse(ctx, small.Graph)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ligo.NewPlan(ctx, a, target, o)
	if err != nil {
		t.Fatal(err)
	}
	op, err := p.Operator(ctx)
	if err != nil {
		t.Fatal(err)
	}
	g, err := ligo.Apply(ctx, p, op)
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.Graph.ToModel()
	if err != nil {
		t.Fatal(err)
	}
	return reread(t, m)
}

// certify is what the command verify does.
func certify(t *testing.T, small, large verify.Model, o verify.Options) *verify.Report {
	t.Helper()
	ctx := context.Background()
	growth, note, err := verify.Recall(ctx, small, large)
	if err != nil {
		t.Fatal(err)
	}
	if note != "" {
		t.Log(note)
	}
	o.Growth, o.Shadow = growth, true
	r, err := verify.Compare(ctx, small, large, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
