package dataset

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// parseHeader reads the dictionary of an .npy header, a Python literal such as
//
//	{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
//
// by a parser of just that: NumPy had code run through headers that were evaluated.
func parseHeader(text string) (header, error) {
	var (
		h    header
		p    = literal{rest: strings.TrimRight(text, " \n\x00")}
		seen = map[string]bool{}
	)
	if !p.take("{") {
		return h, p.unexpected("{")
	}
	for !p.take("}") {
		key, err := p.str()
		if err != nil {
			return h, err
		}
		if !p.take(":") {
			return h, p.unexpected(":")
		}
		if seen[key] {
			return h, fmt.Errorf("header has %q twice", key)
		}
		seen[key] = true
		switch key {
		case "descr":
			err = h.parseDescr(&p)
		case "fortran_order":
			h.fortran, err = p.boolean()
		case "shape":
			h.shape, err = p.shape()
		default:
			err = fmt.Errorf("header has an unknown key %.40q", key)
		}
		if err != nil {
			return h, err
		}
		if !p.take(",") && !p.peek("}") {
			return h, p.unexpected(", or }")
		}
	}
	if p.skip(); p.rest != "" {
		return h, p.unexpected("the end of the header")
	}
	for _, key := range []string{"descr", "fortran_order", "shape"} {
		if !seen[key] {
			return h, fmt.Errorf("header lacks %q", key)
		}
	}
	return h.checked()
}

// dtypes are NumPy's type codes.
var dtypes = map[string]onnxio.DType{
	"b1": onnxio.Bool,
	"i1": onnxio.Int8, "i2": onnxio.Int16, "i4": onnxio.Int32, "i8": onnxio.Int64,
	"u1": onnxio.Uint8, "u2": onnxio.Uint16, "u4": onnxio.Uint32, "u8": onnxio.Uint64,
	"f2": onnxio.Float16, "f4": onnxio.Float, "f8": onnxio.Double,
	"c8": onnxio.Complex64, "c16": onnxio.Complex128,
}

func (h *header) parseDescr(p *literal) error {
	if p.peek("[") {
		return fmt.Errorf("is a structured array; only plain numbers are read")
	}
	descr, err := p.str()
	if err != nil {
		return err
	}
	if descr == "" || !strings.Contains("<>|=", descr[:1]) {
		return fmt.Errorf("element type %.40q is not known", descr)
	}
	dt, ok := dtypes[descr[1:]]
	if !ok {
		return fmt.Errorf("elements of NumPy type %.40q cannot be read (bool, integers, float16, float32, float64 and complex can)", descr)
	}
	h.dtype = dt
	h.size = dt.Bits() / 8
	h.unit = h.size
	if descr[1] == 'c' {
		h.unit /= 2
	}
	h.bigEndian = descr[0] == '>'
	return nil
}

// literal is a Python literal being read from the left.
type literal struct{ rest string }

func (p *literal) skip() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

func (p *literal) peek(s string) bool {
	p.skip()
	return strings.HasPrefix(p.rest, s)
}

func (p *literal) take(s string) bool {
	if !p.peek(s) {
		return false
	}
	p.rest = p.rest[len(s):]
	return true
}

func (p *literal) unexpected(want string) error {
	return fmt.Errorf("header is malformed: expected %s before %.20q", want, p.rest)
}

// str reads a quoted string; escapes do not occur in headers.
func (p *literal) str() (string, error) {
	p.skip()
	if p.rest == "" || p.rest[0] != '\'' && p.rest[0] != '"' {
		return "", p.unexpected("a string")
	}
	end := strings.IndexByte(p.rest[1:], p.rest[0])
	if end < 0 {
		return "", p.unexpected("a string with an end")
	}
	s := p.rest[1 : end+1]
	p.rest = p.rest[end+2:]
	return s, nil
}

func (p *literal) boolean() (bool, error) {
	switch {
	case p.take("True"):
		return true, nil
	case p.take("False"):
		return false, nil
	}
	return false, p.unexpected("True or False")
}

// shape reads (), (3,) or (2, 3).
func (p *literal) shape() ([]int64, error) {
	if !p.take("(") {
		return nil, p.unexpected("a shape")
	}
	shape := []int64{}
	for !p.take(")") {
		p.skip()
		n := 0
		for n < len(p.rest) && p.rest[n] >= '0' && p.rest[n] <= '9' {
			n++
		}
		size, err := strconv.ParseInt(p.rest[:n], 10, 64)
		if err != nil {
			return nil, p.unexpected("a size")
		}
		shape = append(shape, size)
		p.rest = p.rest[n:]
		p.take("L") // a long of Python 2
		if !p.take(",") && !p.peek(")") {
			return nil, p.unexpected(", or )")
		}
	}
	return shape, nil
}
