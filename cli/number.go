package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// count writes a number with a decimal suffix: 124.4M.
func count(n int64) string {
	f := float64(n)
	for _, u := range []struct {
		of   float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "K"}} {
		if f >= u.of {
			return fmt.Sprintf("%.1f%s", f/u.of, u.name)
		}
	}
	return strconv.FormatInt(n, 10)
}

// size writes a number of bytes: 497.8 MB.
func size(n int64) string {
	s := count(n)
	if last := s[len(s)-1]; last >= '0' && last <= '9' {
		return s + " B"
	}
	unit := s[len(s)-1:]
	if unit == "K" {
		unit = "k"
	}
	return s[:len(s)-1] + " " + unit + "B"
}

// parseFactor reads "1.5x" or "1.5".
func parseFactor(flag, s string) (float64, error) {
	if s == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSuffix(s, "x"), "×"), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || f <= 0 {
		return 0, usagef("--%s: %q is no factor; it is written like 1.5x", flag, s)
	}
	return f, nil
}

// parseCount reads "110M", "1.3B" or "110000000".
func parseCount(flag, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	unit := 1.0
	digits := s
	switch s[len(s)-1] {
	case 'k', 'K':
		unit = 1e3
	case 'm', 'M':
		unit = 1e6
	case 'g', 'G', 'b', 'B':
		unit = 1e9
	}
	if unit > 1 {
		digits = s[:len(s)-1]
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(f > 0) || f*unit > 1e15 {
		return 0, usagef("--%s: %q is no number of parameters; it is written like 110M", flag, s)
	}
	return int64(math.Round(f * unit)), nil
}

// parseBytes reads "512MiB", "2GB" or a plain number of bytes.
func parseBytes(flag, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	lower := strings.ToLower(strings.TrimSpace(s))
	for _, u := range []struct {
		suffix string
		of     float64
	}{{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"b", 1}, {"", 1}} {
		digits, ok := strings.CutSuffix(lower, u.suffix)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err == nil && f > 0 && f*u.of < 1<<62 {
			return int64(f * u.of), nil
		}
		break
	}
	return 0, usagef("--%s: %q is no amount of memory; it is written like 512MiB", flag, s)
}
