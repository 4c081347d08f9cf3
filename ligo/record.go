package ligo

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Version is the version of the library, written into every grown model.
const Version = "0.1.0"

// metadataPrefix marks our entries in a model's metadata.
const metadataPrefix = "ligoonnx."

// Record tells how a model was grown. It is written into the model's metadata, and with the small model it is enough to plan the
// growth again (Replay): what was promised and how inputs and outputs correspond can be told from the two files alone.
type Record struct {
	Version string `json:"version"`
	Method  Method `json:"method"`
	Seed    uint64 `json:"seed"`
	// Source is the SHA-256 of the small model's file; empty when it never was one.
	Source string `json:"source_sha256,omitempty"`
	From   Sizes  `json:"from"`
	To     Sizes  `json:"to"`
	// Axes gives the new size of every axis that grew, by its name in the deepened graph; Layers those of every stage.
	Axes   map[string]int64 `json:"axes"`
	Layers []int64          `json:"layers"`

	Promise Promise  `json:"promise"`
	Reasons []Reason `json:"reasons,omitempty"`
	// Learned says how the operator was learned, and Operator names its file's content; nil and empty for the method's own operator.
	Learned  *Learned `json:"learned,omitempty"`
	Operator string   `json:"operator_sha256,omitempty"`
	// Producer is what the small model named as its producer, and ProducerVersion its version: the grown model names ligoonnx.
	Producer        string `json:"producer,omitempty"`
	ProducerVersion string `json:"producer_version,omitempty"`
}

// recordOf is the record of the plan's growth by an operator: what was learned does not keep the function.
func (p *Plan) recordOf(op *Operator) Record {
	r := p.record
	r.Learned, r.Operator = op.Learned, op.SHA256
	r.Promise, r.Reasons = p.Promised(op)
	return r
}

// Promised is what a growth by an operator promises, and why it is not exact.
func (p *Plan) Promised(op *Operator) (Promise, []Reason) {
	why := slices.Clone(p.record.Reasons)
	switch {
	case op.Learned != nil:
		return None, append(why, Reason{Code: CodeLearned, Text: fmt.Sprintf("the operator was learned for %d steps", op.Learned.Steps)})
	case op.loose:
		return None, append(why, Reason{Code: CodeForeign, Text: "the operator's file has other matrices than the method makes of this model"})
	}
	return p.record.Promise, p.record.Reasons
}

// ToMetadata is the record as metadata entries: the plain facts in entries of their own, for people and other tools, and
// everything in ligoonnx.growth.
func (r Record) ToMetadata() ([]onnxio.KeyValue, error) {
	all, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	out := []onnxio.KeyValue{
		{Key: "version", Value: r.Version},
		{Key: "method", Value: string(r.Method)},
		{Key: "seed", Value: strconv.FormatUint(r.Seed, 10)},
		{Key: "source_sha256", Value: r.Source},
		{Key: "from", Value: r.From.String()},
		{Key: "to", Value: r.To.String()},
		{Key: "promise", Value: string(r.Promise)},
		{Key: "growth", Value: string(all)},
	}
	out = slices.DeleteFunc(out, func(kv onnxio.KeyValue) bool { return kv.Value == "" })
	for i := range out {
		out[i].Key = metadataPrefix + out[i].Key
	}
	return out, nil
}

// FromMetadata reads the record of a model that ligoonnx grew; ok is false for any other model.
func FromMetadata(entries []onnxio.KeyValue) (rec Record, ok bool, err error) {
	for _, kv := range entries {
		if kv.Key != metadataPrefix+"growth" {
			continue
		}
		if err := json.Unmarshal([]byte(kv.Value), &rec); err != nil {
			return Record{}, false, fmt.Errorf("metadata entry %s: %w", kv.Key, err)
		}
		return rec, true, nil
	}
	return Record{}, false, nil
}

// withRecord replaces our entries among a model's metadata by those of rec.
func withRecord(entries []onnxio.KeyValue, rec Record) ([]onnxio.KeyValue, error) {
	out := slices.DeleteFunc(slices.Clone(entries), func(kv onnxio.KeyValue) bool { return strings.HasPrefix(kv.Key, metadataPrefix) })
	add, err := rec.ToMetadata()
	if err != nil {
		return nil, err
	}
	return append(out, add...), nil
}

// Replay plans the growth of a record again.
func Replay(ctx context.Context, small *Analysis, rec Record) (*Plan, error) {
	return NewPlan(ctx, small, Target{replay: &rec}, Options{Method: rec.Method, Seed: rec.Seed})
}
