package onnxio

import "math"

// Float16 has 5 exponent and 10 fraction bits, bfloat16 8 and 7: the same layout, so one pair of functions does for both.

// narrow rounds f once, to nearest with ties to even, to a float of expBits and fracBits. Rounding straight from float64 matters:
// going through float32 rounds twice, which is wrong for values just beside a tie.
func narrow(f float64, expBits, fracBits uint) uint16 {
	b := math.Float64bits(f)
	sign := uint16(b>>63) << 15
	exp := int(b >> 52 & 0x7ff)
	frac := b & (1<<52 - 1)
	maxExp := uint64(1)<<expBits - 1
	bias := int(maxExp >> 1)

	if exp == 0x7ff {
		v := uint16(maxExp << fracBits)
		if frac != 0 {
			// Keep the top of a NaN's payload, but keep it a NaN.
			v |= uint16(frac>>(52-fracBits)) | 1<<(fracBits-1)
		}
		return sign | v
	}
	e := exp - 1023 + bias
	if e >= int(maxExp) {
		return sign | uint16(maxExp<<fracBits)
	}
	drop := 52 - fracBits
	v := uint64(e)<<fracBits | frac>>drop
	if e <= 0 {
		// Subnormal: the leading one becomes explicit and moves right.
		drop += uint(1 - e)
		if drop > 63 || exp == 0 {
			return sign
		}
		frac |= 1 << 52
		v = frac >> drop
	}
	rest, tie := frac&(1<<drop-1), uint64(1)<<(drop-1)
	if rest > tie || rest == tie && v&1 == 1 {
		v++ // a carry runs into the exponent, and from the largest number to infinity, which is right
	}
	return sign | uint16(v)
}

func toFloat16(f float64) uint16  { return narrow(f, 5, 10) }
func toBFloat16(f float64) uint16 { return narrow(f, 8, 7) }

func fromBFloat16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

func fromFloat16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h >> 10 & 0x1f)
	frac := uint32(h & 0x3ff)
	switch exp {
	case 0:
		// Zero or subnormal: frac units of 2^-24, exact in float32.
		f := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}
