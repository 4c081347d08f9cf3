package verify

import (
	"math"
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

func TestDifference(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name                      string
		got, want                 []float64
		diff, mean, rms, maxWant  float64
		worst, nonFinite, firstAt int64
	}{
		{"equal", []float64{1, -2}, []float64{1, -2}, 0, 0, 0, 2, -1, 0, -1},
		{"one off", []float64{1, -2, 3}, []float64{1, -2.5, 3}, 0.5, 0.5 / 3, math.Sqrt(0.25 / 3), 3, 1, 0, -1},
		{"the same NaN and infinity", []float64{nan, inf, -inf}, []float64{nan, inf, -inf}, 0, 0, 0, 0, -1, 0, -1},
		{"NaN for a number", []float64{1, nan}, []float64{1, 2}, 0, 0, 0, 1, -1, 1, 1},
		{"a number for infinity", []float64{1}, []float64{inf}, 0, 0, 0, 0, -1, 1, 0},
		{"infinities of other signs", []float64{inf}, []float64{-inf}, 0, 0, 0, 0, -1, 1, 0},
		{"nothing", nil, nil, 0, 0, 0, 0, -1, 0, -1},
	} {
		s := Difference(c.got, c.want)
		if s.MaxDiff != c.diff || math.Abs(s.Mean()-c.mean) > 1e-15 || math.Abs(s.RMS()-c.rms) > 1e-15 || s.MaxWant != c.maxWant ||
			s.Worst != c.worst || s.NonFinite != c.nonFinite || s.FirstBad != c.firstAt {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}

func TestUnflatten(t *testing.T) {
	if got := unflatten(17, []int64{2, 3, 4}); !slices.Equal(got, []int64{1, 1, 1}) {
		t.Errorf("index 17 of 2x3x4 is %v", got)
	}
	if got := unflatten(-1, []int64{2}); len(got) != 0 {
		t.Errorf("no index is %v", got)
	}
}

func TestBeyond(t *testing.T) {
	got := onnxio.FromFloat64s("", []int64{4}, []float64{1, 1.02, math.NaN(), math.NaN()})
	want := onnxio.FromFloat64s("", []int64{4}, []float64{1.005, 1, math.NaN(), 0})
	if n, err := Beyond(got, want, 0.01, 0); n != 2 || err != nil {
		t.Errorf("%d elements beyond, %v; want 2", n, err)
	}
}

func TestRange(t *testing.T) {
	r, err := RangeOf(onnxio.FromFloat64s("", []int64{4}, []float64{3, -5, math.Inf(1), 2}))
	if err != nil || r.Min != -5 || r.Max != 3 || r.Mean != 0 || r.NonFinite != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}
