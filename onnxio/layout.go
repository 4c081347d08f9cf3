package onnxio

import (
	"io"
	"strconv"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// layout is the external data file of a model that is being written.
type layout struct {
	name string
	size int64
	data []Data
	at   []int64
}

const (
	// externalFrom is the size of the tensors that leave the message: below, the reference costs more than it saves. It is also
	// what ONNX's own tools use.
	externalFrom = 1024
	// Data is aligned so that it can be used where it is mapped: to cache lines, and large tensors to 64 KiB, which is the
	// granularity of mappings on Windows and a multiple of every page size.
	smallAlign = 64
	largeAlign = 64 << 10
	largeFrom  = 1 << 20
)

// place appends data to the file and returns the reference to it.
func (l *layout) place(d Data) []*onnxpb.StringStringEntryProto {
	align := int64(smallAlign)
	if d.Len() >= largeFrom {
		align = largeAlign
	}
	at := (l.size + align - 1) / align * align
	l.at, l.data, l.size = append(l.at, at), append(l.data, d), at+d.Len()
	entry := func(k, v string) *onnxpb.StringStringEntryProto {
		return &onnxpb.StringStringEntryProto{Key: &k, Value: &v}
	}
	return []*onnxpb.StringStringEntryProto{
		entry("location", l.name),
		entry("offset", strconv.FormatInt(at, 10)),
		entry("length", strconv.FormatInt(d.Len(), 10)),
	}
}

// writeTo writes the external data file, with zeros between the tensors.
func (l *layout) writeTo(w io.Writer) error {
	pos := int64(0)
	zeros := make([]byte, largeAlign)
	for i, d := range l.data {
		if _, err := w.Write(zeros[:l.at[i]-pos]); err != nil {
			return err
		}
		if err := stream(w, d); err != nil {
			return err
		}
		pos = l.at[i] + d.Len()
	}
	return nil
}
