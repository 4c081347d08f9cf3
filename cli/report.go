package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/verify"
)

// reports checks the --report flags before any work: a wrong name should not cost an hour.
func reports(c *cli.Context) ([]string, error) {
	paths := c.StringSlice("report")
	for _, path := range paths {
		switch strings.ToLower(filepath.Ext(path)) {
		case ".json", ".md":
		default:
			return nil, usagef("--report: %s: the ending tells the form, which is .json or .md", path)
		}
		if info, err := os.Stat(filepath.Dir(path)); err != nil {
			return nil, err
		} else if !info.IsDir() {
			return nil, usagef("--report: %s is not a folder", filepath.Dir(path))
		}
	}
	return paths, nil
}

// writeReports writes a report in every form that was asked for. A report that exists is replaced: it is of an earlier run.
func writeReports(paths []string, r *verify.Report) error {
	for _, path := range paths {
		var b bytes.Buffer
		if strings.EqualFold(filepath.Ext(path), ".md") {
			markdown(&b, r)
		} else {
			e := json.NewEncoder(&b)
			e.SetIndent("", "  ")
			e.SetEscapeHTML(false)
			if err := e.Encode(r); err != nil {
				return err
			}
		}
		if err := writeWhole(path, b.Bytes()); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

// writeWhole makes a file that is complete or absent.
func writeWhole(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
