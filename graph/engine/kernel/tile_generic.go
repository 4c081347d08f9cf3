//go:build !amd64 || noasm

package kernel

// tiles32 lists the tiles that this machine can run, the best first.
func tiles32() []tile[float32] { return []tile[float32]{portable[float32]()} }

// tiles64 is tiles32 for float64.
func tiles64() []tile[float64] { return []tile[float64]{portable[float64]()} }
