package safetensors

// DType is an element type, under its name in a file.
type DType string

// The element types that have a slice to be read into or written from; others can be copied as bytes.
const (
	F64 DType = "F64"
	F32 DType = "F32"
	I64 DType = "I64"
	I32 DType = "I32"
	// F16 and BF16 are read and written as bytes.
	F16  DType = "F16"
	BF16 DType = "BF16"
)

var sizes = map[DType]int64{F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1,
	"BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}

// Size is the number of bytes of an element; 0 for a type that is not known.
func (d DType) Size() int64 { return sizes[d] }
