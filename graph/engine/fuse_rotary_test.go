package engine

import (
	"math"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

func TestFuseRotary(t *testing.T) {
	const length, size = 5, 128
	table := func(name string, f func(float64) float64, same bool) *onnxio.Tensor {
		v := make([]float32, length*size)
		for i := range v {
			j := i % size
			if same {
				j %= size / 2
			}
			v[i] = float32(f(float64(i/size) * math.Pow(100, -float64(j)/size)))
		}
		return onnxio.FromFloat32s(name, []int64{1, 1, length, size}, v)
	}
	list := func(name string, v ...int64) *onnxio.Tensor {
		return onnxio.FromInt64s(name, []int64{int64(len(v))}, v)
	}
	consts := []*onnxio.Tensor{random("x", 1, 2, length, 2*size), list("split", 2, length, 2, size), list("merge", 2, length, 2*size), list("lo", 0), list("half", size/2), list("end", size), list("last", -1),
		between("angles", 2, -1, 1, 1, 1, length, size/2), table("mask_cos", math.Cos, true), table("mask_sin", math.Sin, true), table("mask_odd", math.Cos, false), random("mask_heads", 3, 1, 2, length, size)}
	const heads = "Reshape x,split -> x4; Transpose x4 perm=0,2,1,3 -> h; "
	const turn = "Slice h,lo,half,last -> x1; Slice h,half,end,last -> x2; Neg x2 -> n; Concat n,x1 axis=-1 -> r; "
	const tables = "Concat angles,angles axis=-1 -> a; Cos a -> mask_cos; Sin a -> mask_sin; "
	const sum = "Mul h,mask_cos -> c; Mul r,mask_sin -> s; Add c,s -> z; "
	const merge = "Transpose z perm=0,2,1,3 -> z4; Reshape z4,merge -> y"
	without := func(names ...string) (out []*onnxio.Tensor) {
		for _, c := range consts {
			if !contains(names, c.Name) {
				out = append(out, c)
			}
		}
		return out
	}
	for _, k := range []fusionCase{
		{name: "tables of angles", consts: without("mask_cos", "mask_sin"), nodes: tables + heads + turn + sum + merge, want: "concatOp:1 rotaryOp:1 stridedOp:2 Cos:1 Sin:1"},
		{name: "known tables", nodes: heads + turn + sum + merge, want: "rotaryOp:1 stridedOp:2"},
		{name: "the other way round", nodes: heads + turn + "Mul mask_sin,r -> s; Mul mask_cos,h -> c; Add s,c -> z; " + merge, want: "rotaryOp:1 stridedOp:2"},

		{name: "halves that differ", nodes: heads + turn + strings.Replace(sum, "mask_cos", "mask_odd", 1) + merge, not: "rotaryOp"},
		{name: "tables for each head", nodes: heads + turn + strings.NewReplacer("mask_cos", "mask_heads", "mask_sin", "mask_heads").Replace(sum) + merge, not: "rotaryOp"},
		{name: "turned the other way", nodes: heads + "Slice h,lo,half,last -> x1; Slice h,half,end,last -> x2; Neg x1 -> n; Concat x2,n axis=-1 -> r; " + sum + merge, not: "rotaryOp"},
		{name: "halves of another value", nodes: heads + strings.Replace(turn, "Slice h", "Sigmoid h -> g; Slice g", 1) + sum + merge, not: "rotaryOp"},
	} {
		if k.consts == nil {
			k.consts = consts
		}
		t.Run(k.name, k.check)
	}
}
