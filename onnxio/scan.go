package onnxio

import (
	"fmt"
	"math"
)

// limits bound what decoding a message may cost.
type limits struct {
	depth    int   // nested messages and groups, the outermost included
	messages int64 // messages and groups, each an object of some hundred bytes
	strings  int64 // strings and other fields of bytes
	numbers  int64 // integers, which grow from one byte to eight
}

const (
	maxDepth    = 100
	maxMessages = 2_000_000
	maxStrings  = 1 << 23
	maxNumbers  = 1 << 27
	maxField    = 1<<29 - 1 // the largest field number protobuf has
	// maxMessage is protobuf's own limit: lengths inside a larger message no longer fit in an int32.
	maxMessage = math.MaxInt32
)

func defaultLimits() limits {
	return limits{depth: maxDepth, messages: maxMessages, strings: maxStrings, numbers: maxNumbers}
}

// cutter decides about the raw_data of one tensor, whose bytes are data[start:end]: with replace, its length becomes n.
type cutter func(start, end int) (n int64, replace bool)

// edit is one change to a scanned message: the bytes [at,end) are replaced by the varint length and, for a cut, by the payload
// that belongs there.
type edit struct {
	at, end int
	length  int64
	cut     bool
}

type scanner struct {
	data     []byte
	lim      limits
	messages int64
	strings  int64
	numbers  int64
	cut      cutter
	edits    []edit
}

// scan checks that data is a well-formed message of type root within the limits. The cutter may replace the raw_data of tensors
// by something shorter or longer; scan returns the edits that make a well-formed message of it again, in order of position,
// and the length of the result.
func scan(data []byte, root msgType, lim limits, cut cutter) ([]edit, int64, error) {
	if int64(len(data)) > maxMessage {
		return nil, 0, &LimitError{What: "message size in bytes", Found: int64(len(data)), Limit: maxMessage}
	}
	s := &scanner{data: data, lim: lim, cut: cut}
	delta, err := s.message(0, len(data), root, 1)
	if err != nil {
		return nil, 0, err
	}
	return s.edits, int64(len(data)) + delta, nil
}

// message scans data[pos:end] and returns by how much its edits make it longer.
func (s *scanner) message(pos, end int, t msgType, depth int) (delta int64, err error) {
	if err := s.count(depth); err != nil {
		return 0, err
	}
	fields := schema[t]
	for pos < end {
		start := pos
		tag, n := s.varint(pos, end)
		if n == 0 {
			return 0, s.malformed(pos, "a field tag is cut off or longer than 10 bytes")
		}
		field, wire := tag>>3, tag&7
		if field == 0 || field > maxField {
			return 0, s.malformed(start, "field number %d is not possible", field)
		}
		pos += n
		if wire != 2 {
			if pos, err = s.scalar(pos, end, t, int32(field), wire, depth); err != nil {
				return 0, err
			}
			continue
		}
		length, n := s.varint(pos, end)
		if n == 0 {
			return 0, s.malformed(pos, "the length of field %d is cut off or longer than 10 bytes", field)
		}
		body := pos + n
		if length > uint64(end-body) {
			return 0, s.malformed(pos, "field %d says it has %d bytes, %d are left in its message", field, length, end-body)
		}
		stop := body + int(length)
		d, err := s.delimited(pos, body, stop, t, int32(field), fields[int32(field)], depth)
		if err != nil {
			return 0, err
		}
		delta += d
		pos = stop
	}
	return delta, nil
}

// delimited scans one length-delimited field, whose length is at lenAt and whose bytes are data[body:stop].
func (s *scanner) delimited(lenAt, body, stop int, t msgType, field int32, inner msgType, depth int) (int64, error) {
	old := int64(stop - body)
	switch {
	case inner != opaque:
		first := len(s.edits)
		d, err := s.message(body, stop, inner, depth+1)
		if err != nil || first == len(s.edits) {
			return 0, err
		}
		// The edit of this message's length belongs before the edits inside it.
		s.edits = append(s.edits, edit{})
		copy(s.edits[first+1:], s.edits[first:])
		s.edits[first] = edit{at: lenAt, end: body, length: old + d}
		return d + varintLen(old+d) - int64(body-lenAt), nil
	case t == tensorMsg && field == rawDataField && s.cut != nil:
		n, replace := s.cut(body, stop)
		if !replace {
			return 0, nil
		}
		s.edits = append(s.edits, edit{at: lenAt, end: stop, length: n, cut: true})
		return n - old + varintLen(n) - int64(body-lenAt), nil
	case varintField(t, field):
		for _, b := range s.data[body:stop] {
			if b < 0x80 {
				s.numbers++
			}
		}
		return 0, s.checkNumbers()
	default:
		if s.strings++; s.strings > s.lim.strings {
			return 0, &LimitError{What: "number of strings", Found: s.strings, Limit: s.lim.strings}
		}
		return 0, nil
	}
}

// scalar skips a field that is not length-delimited.
func (s *scanner) scalar(pos, end int, t msgType, field int32, wire uint64, depth int) (int, error) {
	size := 0
	switch wire {
	case 0:
		if _, size = s.varint(pos, end); size == 0 {
			return 0, s.malformed(pos, "the number in field %d is cut off or longer than 10 bytes", field)
		}
		s.numbers++ // an element of an unpacked list, for all that the wire format tells
		if err := s.checkNumbers(); err != nil {
			return 0, err
		}
	case 1:
		size = 8
	case 5:
		size = 4
	case 3:
		return s.group(pos, end, field, depth+1)
	case 4:
		return 0, s.malformed(pos, "a group ends that was not begun (field %d)", field)
	default:
		return 0, s.malformed(pos, "field %d has wire type %d, which does not exist", field, wire)
	}
	if size > end-pos {
		return 0, s.malformed(pos, "field %d is cut off: %d bytes wanted, %d left", field, size, end-pos)
	}
	return pos + size, nil
}

// group skips a group, an obsolete way of nesting that ONNX does not use but a decoder must get over.
func (s *scanner) group(pos, end int, field int32, depth int) (int, error) {
	if err := s.count(depth); err != nil {
		return 0, err
	}
	for pos < end {
		tag, n := s.varint(pos, end)
		if n == 0 {
			return 0, s.malformed(pos, "a field tag is cut off or longer than 10 bytes")
		}
		inner, wire := tag>>3, tag&7
		if inner == 0 || inner > maxField {
			return 0, s.malformed(pos, "field number %d is not possible", inner)
		}
		pos += n
		if wire == 4 {
			if int32(inner) != field {
				return 0, s.malformed(pos, "group %d ends as group %d", field, inner)
			}
			return pos, nil
		}
		if wire == 2 {
			length, n := s.varint(pos, end)
			if n == 0 || length > uint64(end-pos-n) {
				return 0, s.malformed(pos, "field %d in a group is cut off", inner)
			}
			pos += n + int(length)
			continue
		}
		var err error
		if pos, err = s.scalar(pos, end, opaque, int32(inner), wire, depth); err != nil {
			return 0, err
		}
	}
	return 0, s.malformed(pos, "group %d does not end", field)
}

func (s *scanner) count(depth int) error {
	if depth > s.lim.depth {
		return &LimitError{What: "nesting depth of messages", Found: int64(depth), Limit: int64(s.lim.depth)}
	}
	if s.messages++; s.messages > s.lim.messages {
		return &LimitError{What: "number of messages", Found: s.messages, Limit: s.lim.messages}
	}
	return nil
}

func (s *scanner) checkNumbers() error {
	if s.numbers > s.lim.numbers {
		return &LimitError{What: "number of integers", Found: s.numbers, Limit: s.lim.numbers}
	}
	return nil
}

func (s *scanner) malformed(pos int, format string, args ...any) error {
	return &InvalidError{Problem: fmt.Sprintf("not an ONNX model or damaged: at byte %d ", pos) + fmt.Sprintf(format, args...)}
}

// varint reads a varint in data[pos:end] and returns its size, 0 if there is none of at most 10 bytes and 64 bits.
func (s *scanner) varint(pos, end int) (v uint64, n int) {
	for shift := 0; pos+n < end && n < 10; shift += 7 {
		b := s.data[pos+n]
		n++
		if n == 10 && b > 1 {
			return 0, 0
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, n
		}
	}
	return 0, 0
}

// varintLen is the number of bytes of v as a varint.
func varintLen(v int64) int64 {
	n := int64(1)
	for u := uint64(v); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
