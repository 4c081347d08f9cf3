package engine

import (
	"fmt"

	"gorgonia.org/gorgonia"
	dense "gorgonia.org/tensor"
)

// gorgonia has no rank 0 inside tensors and no empty tensors. Rank 0 is carried as shape (1); values without elements never
// reach the machine, as their content is known when the program is compiled.

func denseShape(shape []int) dense.Shape {
	if len(shape) == 0 {
		return dense.Shape{1}
	}
	return append(dense.Shape(nil), shape...)
}

// denseType is the element type of a buffer in gorgonia's terms.
func denseType(b buffer) dense.Dtype {
	switch b.(type) {
	case buf[float32]:
		return dense.Float32
	case buf[float64]:
		return dense.Float64
	case buf[int64]:
		return dense.Int64
	case buf[int32]:
		return dense.Int32
	case buf[int16]:
		return dense.Int16
	case buf[int8]:
		return dense.Int8
	case buf[uint64]:
		return dense.Uint64
	case buf[uint32]:
		return dense.Uint32
	case buf[uint16]:
		return dense.Uint16
	case buf[uint8]:
		return dense.Uint8
	}
	return dense.Bool
}

func toDense(t *tensor) *dense.Dense {
	return dense.New(dense.WithShape(denseShape(t.shape)...), dense.WithBacking(t.buf.raw()))
}

// fromDense is the buffer inside a gorgonia value.
func fromDense(v gorgonia.Value) (buffer, error) {
	d, ok := v.(*dense.Dense)
	if !ok {
		return nil, fmt.Errorf("the machine gave a %T, not a dense tensor", v)
	}
	switch d.Dtype() {
	case dense.Float32:
		return buf[float32](d.Float32s()), nil
	case dense.Float64:
		return buf[float64](d.Float64s()), nil
	case dense.Int64:
		return buf[int64](d.Int64s()), nil
	case dense.Int32:
		return buf[int32](d.Int32s()), nil
	case dense.Int16:
		return buf[int16](d.Int16s()), nil
	case dense.Int8:
		return buf[int8](d.Int8s()), nil
	case dense.Uint64:
		return buf[uint64](d.Uint64s()), nil
	case dense.Uint32:
		return buf[uint32](d.Uint32s()), nil
	case dense.Uint16:
		return buf[uint16](d.Uint16s()), nil
	case dense.Uint8:
		return buf[uint8](d.Uint8s()), nil
	case dense.Bool:
		return buf[bool](d.Bools()), nil
	}
	return nil, fmt.Errorf("the machine gave elements of %v", d.Dtype())
}
