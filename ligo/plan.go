package ligo

import (
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
)

// Options choose how to grow.
type Options struct {
	Method Method // the empty method is LiGO
	Seed   uint64
}

// Promise says how close the outputs of the grown model are to the small model's.
type Promise string

// Promises.
const (
	Exact       Promise = "exact"       // equal up to rounding
	Approximate Promise = "approximate" // close; Reasons say what is lost
	None        Promise = "none"        // the method changes the function on purpose
)

// AxisPlan is what happens to one axis.
type AxisPlan struct {
	Name string `json:"name"`
	Role string `json:"role,omitempty"`
	From int64  `json:"from"`
	To   int64  `json:"to"`
	Rule string `json:"rule"` // one line for people
}

// StagePlan is what happens to one run of layers. Sources gives, for each new layer, the old one that its structure comes from.
type StagePlan struct {
	From    int64 `json:"from"`
	To      int64 `json:"to"`
	Sources []int `json:"sources"`
	// Inert marks the layers that pass the stream through.
	Inert []bool `json:"inert,omitempty"`
}

// InterfaceChange is an input or output of the model whose shape changes, or that is new.
type InterfaceChange struct {
	Name string   `json:"name"`
	From []string `json:"from,omitempty"` // nil: the value is new
	To   []string `json:"to"`
}

// Plan is a growth that was found possible. It is made by NewPlan and not changed afterwards.
type Plan struct {
	Method Method `json:"method"`
	Seed   uint64 `json:"seed"`
	From   Sizes  `json:"from"`
	To     Sizes  `json:"to"`

	Axes      []AxisPlan        `json:"axes"`
	Stages    []StagePlan       `json:"stages"`
	Interface []InterfaceChange `json:"interface,omitempty"`

	Promise Promise  `json:"promise"`
	Reasons []Reason `json:"reasons,omitempty"`
	// Notes tell what else is worth knowing (an embedding that could not stay tied), without weakening the promise.
	Notes []Reason `json:"notes,omitempty"`
	// Problems is empty in a plan that NewPlan returned without an error.
	Problems []Problem `json:"problems,omitempty"`

	ParamsFrom  int64 `json:"params_from"`
	ParamsTo    int64 `json:"params_to"`
	FLOPsFrom   int64 `json:"flops_per_token_from"`
	FLOPsTo     int64 `json:"flops_per_token_to"`
	OutputBytes int64 `json:"output_bytes"`
	PeakMemory  int64 `json:"peak_memory"` // estimate, of Apply and writing, in bytes

	small     *Analysis
	deep      *axes.Result // the graph with all its layers, at the small widths
	layers    []stageLayers
	sizes     axes.Sizes
	edits     *axes.Edits
	rules     map[*axes.Atom]*rule
	sites     []*normSite
	norms     map[*graph.Value]*normSite // sites by gain and by bias
	weights   []*weightPlan
	byValue   map[*graph.Value]*weightPlan
	slots     map[*graph.Value]slot
	from      map[*axes.Atom]*axes.Atom // the small graph's atom; nil when no layer was added
	ties      []tie
	streams   []*postStream
	activated []*activation
	record    Record
}

// Grown is a grown model.
type Grown struct {
	Graph *graph.Graph
	// InputMaps and OutputMaps tell, for the inputs and outputs whose shape changed (caches, hidden states), how the small model's
	// value becomes the large one's: one matrix for each axis, nil for an axis that is as it was.
	InputMaps, OutputMaps map[string][]linmap.Matrix
	Record                Record
}
