package ligo_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// BenchmarkBERTBase grows the LiGO paper's small BERT to the base size: analysis, plan, operator and edit apart from writing the file.
func BenchmarkBERTBase(b *testing.B) {
	path := filepath.Join(b.TempDir(), "small.onnx")
	if err := onnxio.Write(context.Background(), fixtures.BERT(fixtures.BERTSmall()), path, onnxio.WriteOptions{}); err != nil {
		b.Fatal(err)
	}
	m, err := onnxio.Read(path, onnxio.ReadOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	target := ligo.Target{Hidden: 768, Heads: 12, FFN: 3072, Layers: 12}
	b.Run("plan", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			g, err := graph.FromModel(m)
			if err != nil {
				b.Fatal(err)
			}
			grow(b, analyse(b, g.Model), target, ligo.Options{})
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		_, g := grow(b, analyse(b, m), target, ligo.Options{})
		out, err := g.Graph.ToModel()
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := onnxio.Write(context.Background(), out, filepath.Join(b.TempDir(), "large.onnx"), onnxio.WriteOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
