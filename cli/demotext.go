package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// textJSON is what is trained on.
type textJSON struct {
	Source string `json:"source"`
	// Bytes to train on, to choose operators by, and to measure on.
	Train int `json:"train_bytes"`
	Held  int `json:"held_bytes"`
	Test  int `json:"test_bytes"`
}

// texts are the parts of the text: to train on, to choose operators by, to measure on.
type texts [3]string

const (
	trainBytes = 4 << 20
	heldBytes  = 256 << 10
	leastText  = 16 << 10
)

// readText finds a text to train on.
func (d *demonstration) readText() (t texts, err error) {
	if path := d.c.String("text"); path != "" {
		text, err := dataset.ReadText(path)
		if err != nil {
			return t, err
		}
		if len(text) < leastText {
			return t, callf(d.c, "--text %s has %d bytes; at least %d are needed to train and measure on", path, len(text), leastText)
		}
		return d.took(filepath.Base(path), divide(text)), nil
	}
	src, version, err := goSource(d.c.Context)
	if err == nil {
		var parts []string
		// What models are measured on comes first: it stays the same when there is less source.
		if parts, err = fixtures.GoSource(src, heldBytes, heldBytes, trainBytes); err == nil {
			return d.took("the standard library's source of "+version, texts{parts[2], parts[1], parts[0]}), nil
		}
	}
	if err := d.c.Context.Err(); err != nil {
		return t, err
	}
	d.note("there is no source of Go's standard library (%v): the models learn an invented language instead; --text FILE gives another text", err)
	s := d.result.Seed
	return d.took("a language invented for the purpose", texts{fixtures.InventedText(s+3, trainBytes), fixtures.InventedText(s+2, heldBytes), fixtures.InventedText(s+1, heldBytes)}), nil
}

func (d *demonstration) took(source string, t texts) texts {
	d.result.Text = textJSON{Source: source, Train: len(t[0]), Held: len(t[1]), Test: len(t[2])}
	return t
}

// divide takes a tenth of a text for each of the two measurements, from its end, and no more than they need.
func divide(text string) texts {
	n := min(len(text)/10, heldBytes)
	cut := func(at int) int {
		for at > 0 && !utf8.RuneStart(text[at]) {
			at--
		}
		return at
	}
	a, b := cut(len(text)-2*n), cut(len(text)-n)
	return texts{text[:a], text[a:b], text[b:]}
}

// goSource asks an installed Go where its standard library is.
func goSource(ctx context.Context) (src, version string, err error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION")
	// Neither a go.mod nearby nor its toolchain line has a say.
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("go env: %s", strings.TrimSpace(string(exit.Stderr)))
		}
		return "", "", err
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if root == "" {
		return "", "", errors.New("go env GOROOT is empty")
	}
	return filepath.Join(root, "src"), strings.TrimSpace(version), nil
}
