package verify

import (
	"encoding/json"
	"math"
	"strconv"

	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// Schema names the form of a Report as JSON. Fields may be added under the same name; none changes its meaning.
const Schema = "ligoonnx/verify@1"

// Verdicts.
const (
	Pass = "PASS"
	Fail = "FAIL"
)

// Promises: what a growth says about the function.
const (
	Exact       = "exact"       // the same up to rounding
	Approximate = "approximate" // close; every reason is listed
	None        = "none"        // changed on purpose
)

// Number is a float64 whose JSON form is null when it is not finite, as JSON has no such numbers.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON implements json.Unmarshaler; null is NaN.
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	*n = Number(f)
	return err
}

// Report is the certificate: the result of Compare.
type Report struct {
	Schema   string `json:"schema"`
	Verdict  string `json:"verdict"`
	Promised string `json:"promised"`
	// MaxAbsDiff and Tolerance are those of the output that is closest to its tolerance, or furthest beyond it.
	MaxAbsDiff Number `json:"max_abs_diff"`
	Tolerance  Number `json:"tolerance"`
	// Deviation is the largest difference of any output, divided by the largest element of that output.
	Deviation Number   `json:"deviation"`
	Outputs   []Output `json:"outputs"`
	// Reasons say why the promise is not "exact": one for each inexact axis or layer.
	Reasons []Reason `json:"reasons"`
	// Failures say why the verdict is FAIL.
	Failures []Failure `json:"failures"`
	// Notes say what was not compared, and other things worth knowing that decide nothing.
	Notes    []string     `json:"notes"`
	Sets     []SetInfo    `json:"sets"`
	Basis    Basis        `json:"basis"`
	Shadow   bool         `json:"shadow"`
	Readers  []Reader     `json:"readers"`
	Training *Training    `json:"training"`
	Small    ModelSummary `json:"small"`
	Large    ModelSummary `json:"large"`
}

// Passed reports the verdict.
func (r *Report) Passed() bool { return r.Verdict == Pass }

// Output is what was measured of one output over all sets of inputs.
type Output struct {
	Name       string  `json:"name"`
	MaxAbsDiff Number  `json:"max_abs_diff"`
	MeanAbs    Number  `json:"mean_abs_diff"`
	RMS        Number  `json:"rms"`
	WorstIndex []int64 `json:"worst_index"` // of the largest difference
	WorstSet   string  `json:"worst_set"`
	MaxAbs     Number  `json:"max_abs"` // largest element that the small model gives
	Tolerance  Number  `json:"tolerance"`
	// Mapped says that axes of the output grew, so that the small model's values were mapped before the comparison.
	Mapped bool `json:"mapped,omitempty"`
	// Shadow is the comparison in float64; nil when it was not run.
	Shadow *Measured `json:"float64,omitempty"`
	Pass   bool      `json:"pass"`
}

// Measured is a difference with its tolerance.
type Measured struct {
	MaxAbsDiff Number `json:"max_abs_diff"`
	Tolerance  Number `json:"tolerance"`
}

// Reason says why a growth is not exact. The codes are package ligo's.
type Reason struct {
	Code   string `json:"code"`
	Node   string `json:"node"`
	Tensor string `json:"tensor"`
	Text   string `json:"text"`
}

// Codes of failures.
const (
	FailDifference = "difference"    // an output differs by more than its tolerance
	FailShadow     = "mathematics"   // the same in float64, where rounding does not explain it
	FailNonFinite  = "non-finite"    // NaN or infinity where the small model has a number
	FailShape      = "output-shape"  // an output of another shape
	FailSignature  = "signature"     // inputs or outputs differ
	FailVersion    = "version"       // IR version or operator sets differ
	FailRun        = "run"           // the large model cannot be run
	FailReader     = "second-reader" // another library reads something else
	FailPlan       = "plan"          // an initializer is not of the planned shape
	FailDeviation  = "deviation"     // more than the deviation that the caller allows
)

// Failure is one reason for the verdict FAIL.
type Failure struct {
	Code  string `json:"code"`
	Where string `json:"where,omitempty"` // output, input, node or tensor
	Text  string `json:"text"`
}

// SetInfo names one set of inputs.
type SetInfo struct {
	Name      string `json:"name"`
	Synthetic bool   `json:"synthetic"`
	Text      string `json:"text,omitempty"` // sizes of the inputs
}

// Reader is the result of reading a model with another library.
type Reader struct {
	Model    string `json:"model"` // "small" or "large"
	Library  string `json:"library"`
	Compared bool   `json:"compared"`
	Text     string `json:"text"` // what was compared, or why not
}

// ModelSummary identifies a model.
type ModelSummary struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Params int64  `json:"params"`
}

// Training is the result of a training race; nil where none was run.
type Training struct {
	Curves      []Curve `json:"curves"`
	SavedFLOPs  Number  `json:"saved_flops_percent"`
	SavedSteps  Number  `json:"saved_steps_percent"`
	LossMeasure string  `json:"loss_measure,omitempty"`
}

// Curve is one training run of a race.
type Curve struct {
	Name  string    `json:"name"`
	Steps []int64   `json:"steps"`
	FLOPs []float64 `json:"flops"`
	Loss  []float64 `json:"loss"`
}

func (r *Report) fail(code, where, text string) {
	r.Failures = append(r.Failures, Failure{code, where, text})
}

// describe lists the shapes of a set's inputs in the order of the signature.
func describe(s *dataset.Set, order []string) string {
	text := ""
	for _, name := range order {
		t := s.Inputs[name]
		if t == nil {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += name + " " + shapeText(t.Dims)
	}
	return text
}

func shapeText(dims []int64) string {
	text := "["
	for i, d := range dims {
		if i > 0 {
			text += " "
		}
		text += strconv.FormatInt(d, 10)
	}
	return text + "]"
}
