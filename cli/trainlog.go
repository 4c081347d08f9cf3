package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// logEvery is how long a log waits between two lines about steps in which nothing was evaluated.
const logEvery = 10 * time.Second

// progress shows a step that was applied, and writes its line of metrics.
func (t *training) progress(s train.Point) {
	if t.first == 0 {
		// What came before, such as measuring the start, says nothing of how fast steps are.
		t.first, t.started = s.Step, time.Now().Add(-time.Duration(s.Seconds*float64(time.Second)))
	}
	t.metrics.write(s)
	elapsed := time.Since(t.started)
	done := s.Step - t.first + 1
	left := time.Duration(float64(elapsed) / float64(done) * float64(t.o.Steps-s.Step))
	line := fmt.Sprintf("loss %.4f, %s", s.Loss, t.speed(elapsed))
	if s.Step < t.o.Steps {
		line += ", " + clock(left) + " left"
	}
	if s.Eval != nil {
		line += fmt.Sprintf(", eval loss %.4f", s.Eval.Loss)
	}
	if t.term.progress {
		t.term.step(t.stage, s.Step, t.o.Steps, line)
		return
	}
	if t.term.verbose || s.Eval != nil || done == 1 || s.Step == t.o.Steps || time.Since(t.shown) >= logEvery {
		t.shown = time.Now()
		t.note("step %d/%d: %s", s.Step, t.o.Steps, line)
	}
}

// speed is tokens a second, or examples where there are no tokens.
func (t *training) speed(elapsed time.Duration) string {
	n, unit := t.feed.tokens, "tokens"
	if n == 0 {
		n, unit = t.feed.examples, "examples"
	}
	return fmt.Sprintf("%s %s/s", count(int64(float64(n)/max(elapsed.Seconds(), 1e-9))), unit)
}

// clock writes a time as 1:02:03 or 2:03.
func clock(d time.Duration) string {
	s := int64(d.Round(time.Second).Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// report prints the result.
func (t *training) report(r *train.Result, seconds float64) error {
	if len(r.Curve) == 0 {
		return errors.New("internal error: a run without a step")
	}
	start, end := r.Curve[0], r.Curve[len(r.Curve)-1]
	out := outputJSON{Path: t.out, Written: true, Seconds: seconds}
	if info, err := os.Stat(t.out); err == nil {
		out.Bytes = info.Size()
	}
	if t.c.Bool("json") {
		j := trainJSON{Schema: trainSchema, Output: out, Loss: t.data.loss, Parameters: int64(t.task.Elements()), Steps: t.o.Steps, Start: start, End: end,
			Eval: end.Eval, Tokens: t.feed.tokens, Examples: t.feed.examples, Seconds: seconds, Checkpoint: r.Checkpoint}
		j.Data.Examples = t.feed.c.Examples()
		if t.eval != nil {
			j.Data.EvalExamples = t.eval.c.Examples()
		}
		return t.json(j)
	}
	rows := [][]string{{"", "START", "END"}, {"step", strconv.Itoa(start.Step), strconv.Itoa(end.Step)}, {"loss", fmt.Sprintf("%.4f", start.Loss), fmt.Sprintf("%.4f", end.Loss)}}
	if start.Accuracy != nil && end.Accuracy != nil {
		rows = append(rows, []string{"accuracy", percent(*start.Accuracy), percent(*end.Accuracy)})
	}
	if end.Eval != nil {
		first := ""
		for _, s := range r.Curve[:len(r.Curve)-1] {
			if s.Eval != nil {
				first = fmt.Sprintf("%.4f (step %d)", s.Eval.Loss, s.Step)
				break
			}
		}
		rows = append(rows, []string{"eval loss", first, fmt.Sprintf("%.4f", end.Eval.Loss)})
		if end.Eval.Accuracy != nil {
			rows = append(rows, []string{"eval accuracy", "", percent(*end.Eval.Accuracy)})
		}
	}
	t.table(rows)
	elapsed := time.Duration(seconds * float64(time.Second))
	n, unit := t.feed.tokens, "tokens"
	if n == 0 {
		n, unit = t.feed.examples, "examples"
	}
	t.printf("\n%s, %s parameters trained on %s %s in %s, %s\n", t.data.loss, count(int64(t.task.Elements())), count(n), unit,
		elapsed.Round(10*time.Millisecond), t.speed(elapsed))
	t.printf("wrote %s, %s\n", t.out, size(out.Bytes))
	return nil
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// metrics is the file that has a line of JSON for every step (train.Point). It is opened when there is something to write, so that a
// call that is refused leaves nothing behind.
type metrics struct {
	path          string // empty: none
	resume, force bool
	f             *os.File
	err           error // the first one
}

// newMetrics checks the file before any work. One that exists is kept unless force says otherwise, or resume goes on with it.
func newMetrics(path string, resume, force bool) (*metrics, error) {
	m := &metrics{path: path, resume: resume, force: force}
	if path == "" {
		return m, nil
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, usagef("--metrics: %s is not a folder", filepath.Dir(path))
	}
	if _, err := os.Stat(path); err == nil && !resume && !force {
		return nil, &onnxio.ExistsError{Path: path}
	}
	return m, nil
}

func (m *metrics) write(s train.Point) {
	if m.path == "" || m.err != nil {
		return
	}
	if m.f == nil {
		if m.err = m.open(s.Step); m.err != nil {
			return
		}
	}
	line, err := json.Marshal(s)
	if err == nil {
		_, err = m.f.Write(append(line, '\n'))
	}
	m.err = err
}

func (m *metrics) open(step int) (err error) {
	flag := os.O_RDWR | os.O_CREATE
	switch {
	case m.resume:
	case m.force:
		flag |= os.O_TRUNC
	default:
		flag |= os.O_EXCL
	}
	if m.f, err = os.OpenFile(m.path, flag, 0o666); err != nil {
		return err
	}
	return m.cut(step)
}

// cut removes the lines from a step on: a run that was killed has written steps that its last checkpoint does not have.
func (m *metrics) cut(step int) error {
	if _, err := m.f.Seek(0, 0); err != nil {
		return err
	}
	in := bufio.NewReader(m.f)
	at := int64(0)
	for {
		line, err := in.ReadBytes('\n')
		var s struct{ Step int }
		if err != nil || json.Unmarshal(bytes.TrimSpace(line), &s) != nil || s.Step >= step {
			break
		}
		at += int64(len(line))
	}
	if err := m.f.Truncate(at); err != nil {
		return err
	}
	_, err := m.f.Seek(at, 0)
	return err
}

// Close ends the file.
func (m *metrics) Close() error {
	if m.f == nil {
		return nil
	}
	return m.f.Close()
}
