//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

//go:generate sh -c "cd gen && go run main.go -out ../tile_amd64.s -stubs ../tile_stubs_amd64.go -pkg kernel"

// tiles32 lists the tiles that this machine can run, the best first.
func tiles32() []tile[float32] {
	list := []tile[float32]{{"portable", 4, 2, tile4x2[float32]}}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		list = append([]tile[float32]{{"AVX2", 6, 16, checked(6, 16, tile6x16AVX2)}}, list...)
	}
	if cpu.X86.HasAVX512F {
		list = append([]tile[float32]{{"AVX-512", 14, 32, checked(14, 32, tile14x32AVX512)}}, list...)
	}
	return list
}

// tiles64 is tiles32 for float64.
func tiles64() []tile[float64] {
	list := []tile[float64]{{"portable", 4, 2, tile4x2[float64]}}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		list = append([]tile[float64]{{"AVX2", 6, 8, checked(6, 8, tile6x8AVX2)}}, list...)
	}
	if cpu.X86.HasAVX512F {
		list = append([]tile[float64]{{"AVX-512", 14, 16, checked(14, 16, tile14x16AVX512)}}, list...)
	}
	return list
}

// checked wraps an assembly tile so that panels that are too short panic instead of being read past their end.
func checked[T Float](m, n int, run func(k int, a, b, acc *T)) func(k int, a, b, acc []T) {
	return func(k int, a, b, acc []T) {
		if k <= 0 {
			clear(acc[:m*n])
			return
		}
		_, _, _ = a[m*k-1], b[n*k-1], acc[m*n-1]
		run(k, &a[0], &b[0], &acc[0])
	}
}
