package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// alphabet is the number of tokens: tab, newline, the printable ASCII characters, and one for any other byte.
const alphabet = 98

// corpus is the Go standard library's source as tokens, in parts that share no file.
type corpus struct {
	train, held, test []byte
	version           string
}

// Bytes of each part; the standard library has more.
const (
	trainBytes = 12 << 20
	heldBytes  = 512 << 10
)

// goSource reads the source that comes with Go.
func goSource() (*corpus, error) {
	out, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	c := &corpus{version: version}
	texts, err := fixtures.GoSource(filepath.Join(root, "src"), heldBytes, heldBytes, trainBytes)
	if err != nil {
		return nil, err
	}
	for i, part := range []*[]byte{&c.test, &c.held, &c.train} {
		*part = make([]byte, len(texts[i]))
		for k := range len(texts[i]) {
			(*part)[k] = token(texts[i][k])
		}
	}
	return c, nil
}

func token(b byte) byte {
	switch {
	case b == '\t':
		return 0
	case b == '\n':
		return 1
	case b >= ' ' && b <= '~':
		return b - ' ' + 2
	}
	return alphabet - 1
}

// textSource cuts rows at random places of the corpus.
type textSource struct {
	c      *corpus
	tokens int
}

func (s *textSource) describe() string {
	return fmt.Sprintf("the standard library's source of %s, a token a byte, without files of more than 64 KiB: %.1f M tokens to train on, %.1f M each for choices and for the test, in files of their own",
		s.c.version, float64(len(s.c.train))/1e6, float64(len(s.c.test))/1e6)
}

func (s *textSource) batch(split split, seed uint64, i, rows int) (inputs, labels *onnxio.Tensor) {
	from := s.c.train
	switch split {
	case splitHeld:
		from = s.c.held
	case splitTest:
		from = s.c.test
	}
	rng := numbers(seed, uint64(split), uint64(i))
	ids, next := make([]int64, 0, rows*s.tokens), make([]int64, 0, rows*s.tokens)
	for range rows {
		at := rng.IntN(len(from) - s.tokens - 1)
		for j := range s.tokens {
			ids, next = append(ids, int64(from[at+j])), append(next, int64(from[at+j+1]))
		}
	}
	dims := []int64{int64(rows), int64(s.tokens)}
	return onnxio.FromInt64s("", dims, ids), onnxio.FromInt64s("", dims, next)
}
