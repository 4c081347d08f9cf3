package train

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// A checkpoint is a folder step-00001234 with
//
//	parameters.safetensors   the parameters by name
//	optimizer.safetensors    the moments: NAME.exp_avg, NAME.exp_avg_sq or NAME.momentum_buffer
//	best.safetensors         the best parameters so far, where they are kept
//	state.json               the step, what was trained how (to refuse another run), digests of both files, the curve so far
//
// It is written under another name, synced and renamed: a folder of that name is complete.
const (
	parametersFile = "parameters.safetensors"
	optimizerFile  = "optimizer.safetensors"
	bestFile       = "best.safetensors"
	stateFile      = "state.json"
	// formatVersion changes when an older program could not read a checkpoint, or would misread it.
	formatVersion = 1
)

var stepFolder = regexp.MustCompile(`^step-\d{8,}$`)

// stored is the content of state.json.
type stored struct {
	Format int               `json:"format"`
	Step   int               `json:"step"`
	Run    []setting         `json:"run"`
	SHA256 map[string]string `json:"sha256"`
	Curve  []Point           `json:"curve"`
	// Rate is State.Rate where retries have lowered it; Start and Best are what Options.KeepBest has measured.
	Rate     float64 `json:"rate,omitempty"`
	Start    *Eval   `json:"start,omitempty"`
	Best     *Eval   `json:"best,omitempty"`
	BestStep int     `json:"best_step,omitempty"`
}

// setting is one thing that two runs must share for one to go on from the other.
type setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// settings is everything that the numbers of a run depend on.
func (r *run) settings() []setting {
	o, s := r.o, r.t.Spec
	source := ""
	if m := r.t.Graph.Model; m != nil {
		source = m.SHA256
	}
	all := []setting{{"model (SHA-256)", source}, {"loss", string(s.Loss)}, {"output", r.t.Output}, {"ignored label", fmt.Sprint(s.ignore())},
		{"temperature", fmt.Sprint(s.Temperature)}, {"share of labels", fmt.Sprint(s.HardWeight)}, {"trained parameters", r.parameters()},
		{"data", r.data.ID()}, {"schedule", string(o.Schedule)}, {"learning rate", fmt.Sprint(o.LR)}, {"final learning rate", fmt.Sprint(o.MinLR)},
		{"warmup", fmt.Sprint(o.Warmup)}, {"optimizer", string(o.Optimizer)}, {"betas", fmt.Sprint(o.Beta1, o.Beta2)}, {"epsilon", fmt.Sprint(o.Eps)},
		{"momentum", fmt.Sprint(o.Momentum)}, {"nesterov", fmt.Sprint(o.Nesterov)}, {"weight decay", fmt.Sprint(o.WeightDecay)}, {"weight decay of all", fmt.Sprint(o.DecayAll)},
		{"clipping norm", fmt.Sprint(o.Clip)}, {"accumulated batches", fmt.Sprint(o.Accumulate)}, {"initialisation", o.Init}, {"seed", fmt.Sprint(o.Seed)}, {"float64", fmt.Sprint(o.Float64)}, {"best kept", fmt.Sprint(o.KeepBest)}, {"retries", fmt.Sprint(o.Retries)}}
	if o.Schedule != Constant {
		all = append(all, setting{"number of steps", fmt.Sprint(o.Steps)})
	}
	return all
}

// parameters tells sets of parameters apart.
func (r *run) parameters() string {
	h := sha256.New()
	for _, p := range r.t.Params {
		fmt.Fprintf(h, "%q%v", p.Name, p.Shape)
	}
	return fmt.Sprintf("%d, %x", len(r.t.Params), h.Sum(nil)[:8])
}

// values lists the parameters, and moments the optimizer's tensors, under their names in a checkpoint.
func (r *run) values() []namedFloats {
	var out []namedFloats
	for i, p := range r.trainer.Params() {
		out = append(out, namedFloats{r.t.Params[i].Name, p.Shape, p.Value})
	}
	return out
}

// files lists the tensors of a checkpoint by file.
func (r *run) files() map[string][]namedFloats {
	out := map[string][]namedFloats{parametersFile: r.values(), optimizerFile: r.moments()}
	if r.guard.best != nil {
		out[bestFile] = r.values()
		for i := range out[bestFile] {
			out[bestFile][i].values = r.guard.best[i]
		}
	}
	return out
}

func (r *run) moments() []namedFloats {
	first, second := "exp_avg", "exp_avg_sq"
	if r.o.Optimizer == SGD {
		first = "momentum_buffer"
	}
	var out []namedFloats
	for i, m := range r.state.Moments {
		p := r.t.Params[i]
		if m.First.Len() > 0 {
			out = append(out, namedFloats{p.Name + "." + first, p.Shape, m.First})
		}
		if m.Second.Len() > 0 {
			out = append(out, namedFloats{p.Name + "." + second, p.Shape, m.Second})
		}
	}
	return out
}

// save writes a checkpoint and removes those that are not to be kept.
func (r *run) save() (err error) {
	dir := r.o.Checkpoint
	final := filepath.Join(dir, fmt.Sprintf("step-%08d", r.state.Step))
	defer func() {
		if err != nil {
			err = fmt.Errorf("checkpoint %s: %w", final, err)
		}
	}()
	if r.saved == final {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := removeUnfinished(dir); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, unfinished)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	s := stored{Format: formatVersion, Step: r.state.Step, Run: r.settings(), SHA256: map[string]string{}, Curve: r.curve}
	s.Start, s.Best, s.BestStep = r.guard.start, r.guard.bestEval, r.guard.bestStep
	if r.state.Rate != 1 {
		s.Rate = r.state.Rate
	}
	for name, tensors := range r.files() {
		h := sha256.New()
		if err := writeSynced(filepath.Join(tmp, name), func(w io.Writer) error { return writeSafetensors(io.MultiWriter(w, h), tensors) }); err != nil {
			return err
		}
		s.SHA256[name] = hex.EncodeToString(h.Sum(nil))
	}
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(tmp, stateFile), func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return err
	}
	// A folder made for one user only is not what os.Mkdir gives.
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := syncFolder(tmp); err != nil {
		return err
	}
	if err := replace(tmp, final); err != nil {
		return err
	}
	if err := syncFolder(dir); err != nil {
		return err
	}
	r.saved = final
	return r.forgetOld()
}

// unfinished is the name of a checkpoint that is being written.
const unfinished = ".step-*"

// removeUnfinished removes what a killed process has left; no two runs may write to one folder.
func removeUnfinished(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ok, _ := filepath.Match(unfinished, e.Name()); ok && e.IsDir() {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// replace renames a folder. One of that name is of another run (a resumed one starts after it), and in the way.
func replace(tmp, final string) error {
	if _, err := os.Lstat(final); err == nil {
		old := tmp + ".old"
		if err := os.Rename(final, old); err != nil {
			return err
		}
		defer os.RemoveAll(old)
	}
	return os.Rename(tmp, final)
}

func writeSynced(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}

// forgetOld removes the oldest checkpoints beyond Options.Keep.
func (r *run) forgetOld() error {
	names, err := checkpoints(r.o.Checkpoint)
	if err != nil || r.o.Keep == 0 {
		return err
	}
	for len(names) > r.o.Keep {
		if old := filepath.Join(r.o.Checkpoint, names[0]); old != r.saved {
			if err := os.RemoveAll(old); err != nil {
				return err
			}
		}
		names = names[1:]
	}
	return nil
}

// checkpoints lists the names of the checkpoints in a folder, oldest first.
func checkpoints(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && stepFolder.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		if a < b {
			return -1
		}
		return 1
	})
	return names, nil
}

// Latest is the newest checkpoint in a folder, or the folder itself where it is a checkpoint.
func Latest(dir string) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, stateFile)); err == nil {
		return dir, nil
	}
	names, err := checkpoints(dir)
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", fmt.Errorf("%s holds no checkpoint", dir)
	}
	return filepath.Join(dir, names[len(names)-1]), nil
}

// resume goes back to a checkpoint.
func (r *run) resume() error {
	dir, err := Latest(r.o.Resume)
	if err != nil {
		return fmt.Errorf("resuming: %w", err)
	}
	if err := r.load(dir); err != nil {
		return fmt.Errorf("resuming from %s: %w", dir, err)
	}
	return nil
}

// maxState bounds state.json: a point of the curve has some 200 bytes.
const maxState = 1 << 30

func (r *run) load(dir string) error {
	path := filepath.Join(dir, stateFile)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxState || !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no state of a run", stateFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var s stored
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("%s: %w", stateFile, err)
	}
	if s.Format != formatVersion {
		return fmt.Errorf("%s has format %d, this program reads %d", stateFile, s.Format, formatVersion)
	}
	if err := r.comparable(s.Run); err != nil {
		return err
	}
	if s.Step < 0 || len(s.Curve) != s.Step {
		return fmt.Errorf("%s says step %d and has a curve of %d", stateFile, s.Step, len(s.Curve))
	}
	if s.Step > r.o.Steps {
		return fmt.Errorf("it is at step %d, beyond the %d of this run", s.Step, r.o.Steps)
	}
	if r.guard.start, r.guard.bestEval, r.guard.bestStep = s.Start, s.Best, s.BestStep; s.Best != nil && r.o.KeepBest {
		for _, p := range r.trainer.Params() {
			r.guard.best = append(r.guard.best, zeros(p.Value))
		}
	}
	if s.Rate != 0 {
		r.state.Rate = s.Rate
	}
	for name, tensors := range r.files() {
		if err := readTensors(filepath.Join(dir, name), s.SHA256[name], tensors); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	r.state.Step, r.curve = s.Step, s.Curve
	r.saved = dir
	return nil
}

// comparable refuses a checkpoint of another run, naming what differs.
func (r *run) comparable(was []setting) error {
	then := map[string]string{}
	for _, s := range was {
		then[s.Name] = s.Value
	}
	for _, s := range r.settings() {
		if old, ok := then[s.Name]; !ok || old != s.Value {
			return fmt.Errorf("it is of another run: %s was %.200q and is %.200q", s.Name, old, s.Value)
		}
	}
	return nil
}

func readTensors(path, digest string, want []namedFloats) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("is no plain file")
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != digest {
		return fmt.Errorf("its content is not what was written: SHA-256 is %s, %.64q was noted", got, digest)
	}
	return readSafetensors(f, info.Size(), want)
}
