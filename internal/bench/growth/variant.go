package main

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ligoonnx/ligoonnx/ligo"
)

// variant is a way to get the large model and to train it on.
type variant struct {
	Name  string
	Start ligo.Method
	// Free is what of the operator is learned; empty: nothing, the start is used as it is.
	Free ligo.Free `json:",omitempty"`
	Tie  ligo.Tie  `json:",omitempty"`
	// Additive learns the free term of linear maps as well.
	Additive bool `json:",omitempty"`
	// OpSteps, of OpBatch times the rows, are a share of the steps from scratch where they are below 1. OpEvals measurements, beside
	// that of the start, find the best operator; -1 measures nothing and takes the last. OpLR is the largest rate.
	OpSteps          float64 `json:",omitempty"`
	OpBatch, OpEvals int     `json:",omitempty"`
	OpLR             float64 `json:",omitempty"`
	// LR, Warmup and Beta2 of training; zero: the task's.
	LR     float64 `json:",omitempty"`
	Warmup int     `json:",omitempty"`
	Beta2  float64 `json:",omitempty"`
	// Small is the share of its training that the small model is given; 0 is all.
	Small float64 `json:",omitempty"`
	// Long multiplies the FLOPs; 0 is 1.
	Long float64 `json:",omitempty"`
}

// named are the methods that are compared, in the order of the tables.
var named = []string{
	"scratch=scratch",
	"scratch-long=scratch,long=2.5",
	"direct=direct",
	"interpolate=interpolate",
	"stack=stack",
	"net2net=net2net",
	"hyperclone=hyperclone",
	"lemon=lemon",
	"ligo-exact=ligo",
	"paper-start=paper",
	"ligo-paper=paper,free=dense,tie=paper,steps=.1,oplr=3e-3",
	"ligo-paper-short=paper,free=dense,tie=paper,steps=.02,oplr=1e-3,evals=-1",
	"ligo-dense=ligo,free=dense,steps=.05,oplr=3e-4",
	"ligo-support=ligo,free=support,steps=.05,oplr=3e-3",
	"ligo-support-short=ligo,free=support,steps=.01,oplr=3e-3,evals=1",
}

// parse reads NAME=START[,key=value...], the name of one that is named, or a named one with other values (NAME,key=value...).
func parse(text string) (variant, error) {
	head, rest, _ := strings.Cut(text, ",")
	name, start, ok := strings.Cut(head, "=")
	if !ok {
		own := ""
		for _, n := range named {
			if known, spec, _ := strings.Cut(n, "="); known == head {
				start, own, _ = strings.Cut(spec, ",")
			}
		}
		if start == "" {
			return variant{}, fmt.Errorf("method %q is not named; give NAME=START", head)
		}
		name, rest = text, own+","+rest
	}
	v := variant{Name: name, Start: ligo.Method(start)}
	for _, kv := range strings.Split(rest, ",") {
		if kv == "" {
			continue
		}
		k, value, _ := strings.Cut(kv, "=")
		number, err := strconv.ParseFloat(value, 64)
		switch k {
		case "free":
			v.Free, err = ligo.Free(value), nil
		case "tie":
			v.Tie, err = ligo.Tie(value), nil
		case "additive":
			v.Additive = number != 0
		case "steps":
			v.OpSteps = number
		case "batch":
			v.OpBatch = int(number)
		case "evals":
			v.OpEvals = int(number)
		case "oplr":
			v.OpLR = number
		case "lr":
			v.LR = number
		case "warmup":
			v.Warmup = int(number)
		case "beta2":
			v.Beta2 = number
		case "small":
			v.Small = number
		case "long":
			v.Long = number
		default:
			return v, fmt.Errorf("method %q: there is no %q", text, k)
		}
		if err != nil {
			return v, fmt.Errorf("method %q: %w", text, err)
		}
	}
	if v.Free != "" {
		v.OpBatch, v.OpEvals = max(v.OpBatch, 1), cmp.Or(v.OpEvals, 2)
	}
	return v, nil
}

// steps is the number of steps in which the operator is learned.
func (v variant) steps(t *task) int {
	if v.OpSteps < 1 {
		return max(1, int(math.Round(v.OpSteps*float64(t.Large))))
	}
	return int(v.OpSteps)
}

// file is the name of a run's result.
func (v variant) file(t *task, seed uint64) string {
	return fmt.Sprintf("%s-%d-%s.json", t.Name, seed, strings.NewReplacer("=", "", ",", "_", "/", "_").Replace(v.Name))
}
