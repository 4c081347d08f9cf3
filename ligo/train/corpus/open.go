package corpus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// open opens all specs as one source.
func (c *Corpus) open(ctx context.Context, specs []string) (_ source, err error) {
	var sources []source
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(sources))
		}
	}()
	var named, folders []string
	for _, spec := range specs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if name, file, ok := strings.Cut(spec, "="); ok && name != "" && strings.EqualFold(filepath.Ext(file), ".npy") && !exists(spec) {
			named = append(named, spec)
			continue
		}
		if info, err := os.Stat(spec); err == nil && info.IsDir() {
			folders = append(folders, spec)
			continue
		}
		s, err := c.openFile(ctx, spec)
		if err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	if len(named) > 0 {
		s, err := c.openNamed(ctx, named)
		if err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	if len(folders) > 0 {
		s, err := c.openSets(ctx, folders)
		if err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	switch len(sources) {
	case 0:
		return nil, errors.New("no data is given")
	case 1:
		return sources[0], nil
	}
	return join(sources)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func closeAll(sources []source) error {
	var err error
	for _, s := range sources {
		err = errors.Join(err, s.close())
	}
	return err
}

func (c *Corpus) openFile(ctx context.Context, path string) (source, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".npz":
		arrays, file, err := dataset.OpenNPZ(ctx, path)
		if err != nil {
			return nil, err
		}
		return c.examplesOf(path, arrays, file)
	case ".npy":
		return c.openArray(ctx, path)
	case ".jsonl", ".ndjson":
		lines, err := dataset.OpenLines(ctx, path)
		if err != nil {
			return nil, err
		}
		c.ragged = true
		return &objects{c: c, lines: lines}, nil
	case ".bin":
		if err := c.wantsTokens(path); err != nil {
			return nil, err
		}
		dt := c.o.TokenType
		if dt == onnxio.Undefined {
			dt = onnxio.Uint16
			if c.l.ids.rows > 1<<16 {
				dt = onnxio.Uint32
			}
		}
		t, file, err := dataset.OpenTokens(path, dt)
		if err != nil {
			return nil, err
		}
		return c.streamOf(t, file)
	case ".txt":
		return c.openText(ctx, path)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%s: not a kind of data that is known: .npz, NAME=FILE.npy, .jsonl, .bin, .npy, .txt or a test_data_set folder", path)
}

func (c *Corpus) wantsTokens(path string) error {
	if c.l.ids == nil {
		return fmt.Errorf("%s: holds tokens, but the model has no input of token ids [batch, sequence] (inputs: %s)", path, c.l.names())
	}
	if c.o.Objective == Given {
		return fmt.Errorf("%s: holds tokens without labels; the loss needs an array of labels beside the inputs (.npz, NAME=FILE.npy or .jsonl)", path)
	}
	return nil
}

// openArray opens an array without a name: token ids, as one stream or as sequences.
func (c *Corpus) openArray(ctx context.Context, path string) (source, error) {
	if err := c.wantsTokens(path); err != nil {
		return nil, err
	}
	a, file, err := dataset.OpenNPY(ctx, path)
	if err != nil {
		return nil, err
	}
	switch {
	case !a.DType.Integer():
		err = fmt.Errorf("%s: elements are %v; token ids are integers (other arrays are given as NAME=%s)", path, a.DType, path)
	case len(a.Dims) == 1:
		t, err := dataset.TokensOf(a)
		if err == nil {
			return c.streamOf(t, file)
		}
		return nil, errors.Join(err, file.Close())
	case len(a.Dims) == 2:
		a.Name = c.l.ids.v.Name
		return c.examplesOf(path, []*dataset.Array{a}, file)
	default:
		err = fmt.Errorf("%s: shape is %v; expected a stream of tokens [n] or sequences [n, tokens]", path, a.Dims)
	}
	return nil, errors.Join(err, file.Close())
}

func (c *Corpus) openText(ctx context.Context, path string) (source, error) {
	if err := c.wantsTokens(path); err != nil {
		return nil, err
	}
	if c.o.Tokenizer == nil {
		return nil, fmt.Errorf("%s: text needs a tokenizer to make token ids of it", path)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	text, err := dataset.ReadText(path)
	if err != nil {
		return nil, err
	}
	ids, err := c.o.Tokenizer.Encode(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c.streamOf(dataset.TokensInMemory(path, ids), closers{})
}

// openNamed opens arrays in files of their own.
func (c *Corpus) openNamed(ctx context.Context, specs []string) (source, error) {
	var arrays []*dataset.Array
	var files closers
	for _, spec := range specs {
		name, path, _ := strings.Cut(spec, "=")
		a, file, err := dataset.OpenNPY(ctx, path)
		if err != nil {
			return nil, errors.Join(err, files.Close())
		}
		a.Name = name
		arrays = append(arrays, a)
		files = append(files, file)
	}
	return c.examplesOf("arguments", arrays, files)
}

// closers close several files.
type closers []io.Closer

func (c closers) Close() error {
	var err error
	for _, f := range c {
		err = errors.Join(err, f.Close())
	}
	return err
}
