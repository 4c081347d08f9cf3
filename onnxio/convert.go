package onnxio

import (
	"encoding/binary"
	"fmt"
	"math"
)

type float interface{ float32 | float64 }

// DecodeFloats widens little-endian elements of type dt (any type that Growable accepts) to dst. Narrowing float64 to float32
// rounds.
func DecodeFloats[F float](dst []F, dt DType, src []byte) error {
	if err := checkSpan(dt, len(dst), len(src)); err != nil {
		return err
	}
	switch dt {
	case Float:
		for i := range dst {
			dst[i] = F(math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:])))
		}
	case Double:
		for i := range dst {
			dst[i] = F(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	case Float16:
		for i := range dst {
			dst[i] = F(fromFloat16(binary.LittleEndian.Uint16(src[2*i:])))
		}
	case BFloat16:
		for i := range dst {
			dst[i] = F(fromBFloat16(binary.LittleEndian.Uint16(src[2*i:])))
		}
	}
	return nil
}

// EncodeFloats writes src as little-endian elements of type dt (any type that Growable accepts), each rounded once to nearest,
// ties to even. What is too large for the type becomes infinite.
func EncodeFloats[F float](dst []byte, dt DType, src []F) error {
	if err := checkSpan(dt, len(src), len(dst)); err != nil {
		return err
	}
	switch dt {
	case Float:
		for i, f := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(float32(f)))
		}
	case Double:
		for i, f := range src {
			binary.LittleEndian.PutUint64(dst[8*i:], math.Float64bits(float64(f)))
		}
	case Float16:
		for i, f := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], toFloat16(float64(f)))
		}
	case BFloat16:
		for i, f := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], toBFloat16(float64(f)))
		}
	}
	return nil
}

func checkSpan(dt DType, elements, bytes int) error {
	if !dt.Growable() {
		return fmt.Errorf("%v is not a float type that can be converted", dt)
	}
	if want := elements * dt.Bits() / 8; want != bytes {
		return fmt.Errorf("%d elements of %v are %d bytes, not %d", elements, dt, want, bytes)
	}
	return nil
}

// decodeInts widens little-endian integers or bools of type dt. A uint64 above the int64 range is an error.
func decodeInts(dt DType, src []byte) ([]int64, error) {
	if !dt.Integer() && dt != Bool {
		return nil, fmt.Errorf("%v is not an integer type", dt)
	}
	size := dt.Bits() / 8
	out := make([]int64, len(src)/size)
	le := binary.LittleEndian
	for i := range out {
		b := src[i*size:]
		switch dt {
		case Int8:
			out[i] = int64(int8(b[0]))
		case Uint8:
			out[i] = int64(b[0])
		case Bool:
			if b[0] != 0 {
				out[i] = 1
			}
		case Int16:
			out[i] = int64(int16(le.Uint16(b)))
		case Uint16:
			out[i] = int64(le.Uint16(b))
		case Int32:
			out[i] = int64(int32(le.Uint32(b)))
		case Uint32:
			out[i] = int64(le.Uint32(b))
		case Int64:
			out[i] = int64(le.Uint64(b))
		case Uint64:
			u := le.Uint64(b)
			if u > math.MaxInt64 {
				return nil, fmt.Errorf("element %d is %d, more than an int64 holds", i, u)
			}
			out[i] = int64(u)
		}
	}
	return out, nil
}

// elements is the number of elements of a shape, or an error for negative sizes and products beyond int64. A zero anywhere makes
// it zero, however large the other sizes are.
func elements(dims []int64) (int64, error) {
	n, zero := int64(1), false
	for i, d := range dims {
		switch {
		case d < 0:
			return 0, fmt.Errorf("dimension %d is %d, sizes cannot be negative", i, d)
		case d == 0:
			zero = true
		case zero:
		case n > math.MaxInt64/d:
			return 0, fmt.Errorf("the sizes %v multiply to more than an int64 holds", abbreviate(dims))
		default:
			n *= d
		}
	}
	if zero {
		return 0, nil
	}
	return n, nil
}

// byteLen is the number of bytes of n elements in raw form.
func byteLen(dt DType, n int64) (int64, error) {
	bits := int64(dt.Bits())
	if bits == 0 {
		return 0, fmt.Errorf("%v has no raw form", dt)
	}
	if n > (math.MaxInt64-7)/bits {
		return 0, fmt.Errorf("%d elements of %v are more bytes than an int64 holds", n, dt)
	}
	return (n*bits + 7) / 8, nil
}

// abbreviate keeps error messages to one readable line however many sizes a hostile file declares.
func abbreviate(dims []int64) string {
	const most = 8
	if len(dims) <= most {
		return fmt.Sprint(dims)
	}
	return fmt.Sprintf("%v and %d more", dims[:most], len(dims)-most)
}
