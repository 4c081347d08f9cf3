package onnxio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// encoded is a model ready to be written: the message with holes, and what goes into them.
type encoded struct {
	skeleton []byte
	edits    []edit
	payloads []Data // in the order of the edits
	size     int64  // of the whole message
	external *layout
}

// encode makes the message of a model. dataName is the external data file it may use.
func encode(m *Model, o WriteOptions, dataName string) (*encoded, error) {
	threshold := o.ExternalThreshold
	if threshold <= 0 {
		threshold = defaultThreshold
	}
	external := o.External == ExternalAlways || o.External == ExternalAuto && m.External
	for {
		var l *layout
		if external {
			l = &layout{name: dataName}
		}
		e, err := newEncoder(l)
		if err != nil {
			return nil, err
		}
		pb, err := e.model(m)
		if err != nil {
			return nil, err
		}
		if !external && o.External == ExternalAuto && e.inline > threshold {
			external = true
			continue
		}
		skeleton, err := pb.Marshal()
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		return e.plan(skeleton)
	}
}

// plan finds the placeholders in a marshalled message and computes the lengths it has with their data in place.
func (e *encoder) plan(skeleton []byte) (*encoded, error) {
	out := &encoded{skeleton: skeleton, external: e.external}
	var err error
	out.edits, out.size, err = scan(skeleton, modelMsg, defaultLimits(), func(start, end int) (int64, bool) {
		i := placeholderIndex(skeleton[start:end], e.nonce)
		if i < 0 || i >= len(e.payloads) {
			return 0, false
		}
		out.payloads = append(out.payloads, e.payloads[i])
		return e.payloads[i].Len(), true
	})
	if err != nil {
		return nil, err
	}
	if out.size > maxMessage {
		return nil, &LimitError{What: "size of the message in bytes (external data would hold more)", Found: out.size, Limit: maxMessage}
	}
	if e.external != nil && len(e.external.data) == 0 {
		out.external = nil // every tensor is too small to leave
	}
	return out, nil
}

// writeTo writes the message.
func (e *encoded) writeTo(w io.Writer) error {
	return splice(w, e.skeleton, e.edits, func(i int) error { return stream(w, e.payloads[i]) })
}

// splice writes data with its edits applied; payload writes the bytes of the i-th cut.
func splice(w io.Writer, data []byte, edits []edit, payload func(i int) error) error {
	pos, cut := 0, 0
	var length [binary.MaxVarintLen64]byte
	for _, e := range edits {
		if _, err := w.Write(data[pos:e.at]); err != nil {
			return err
		}
		if _, err := w.Write(length[:binary.PutUvarint(length[:], uint64(e.length))]); err != nil {
			return err
		}
		if e.cut {
			if err := payload(cut); err != nil {
				return err
			}
			cut++
		}
		pos = e.end
	}
	_, err := w.Write(data[pos:])
	return err
}

// stream writes data and makes sure that it was as long as it said, on which the lengths around it rely.
func stream(w io.Writer, d Data) error {
	c := countingWriter{w: w}
	if _, err := d.WriteTo(&c); err != nil {
		return err
	}
	if c.n != d.Len() {
		return fmt.Errorf("tensor data gave %d bytes after announcing %d", c.n, d.Len())
	}
	return nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Encode is the model as bytes, with all tensors inside. It is for small models and tests; Write streams.
func Encode(m *Model) ([]byte, error) {
	e, err := encode(m, WriteOptions{External: ExternalNever}, "")
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	buf.Grow(int(e.size))
	if err := e.writeTo(&buf); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
