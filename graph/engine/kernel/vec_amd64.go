//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

//go:generate sh -c "cd gen && go run ./vec -out ../vec_amd64.s -stubs ../vec_stubs_amd64.go -pkg kernel"

// vecLevel is read by the assembly: 2 means AVX-512, else it uses AVX2.
var vecLevel int

func init() {
	if levels := vecLevels(); levels[0] > 0 {
		setVecLevel(levels[0])
	}
}

// vecLevels lists the instruction sets that this machine can run, the best first; 0 is Go.
func vecLevels() []int {
	levels := []int{0}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasBMI2 {
		levels = append([]int{1}, levels...)
		if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL {
			levels = append([]int{2}, levels...)
		}
	}
	return levels
}

func setVecLevel(level int) {
	simd = simdKernels{}
	if vecLevel = level; vecLevel == 0 {
		return
	}
	simd = simdKernels{
		add: asmAdd, sub: asmSub, mul: asmMul, div: asmDiv,
		addScalar: asmAddScalar, scale: asmScale, divScalar: asmDivScalar, scalarSub: asmScalarSub, scalarDiv: asmScalarDiv,
		axpy: asmAxpy, mulAdd: asmMulAdd, mulDiff: asmMulDiff, normGrad: asmNormGrad, normalize: asmNormalize, addWide: asmAddWide,
		sum: asmSum, dot: asmDot, sumSq: asmSumSq, max: asmMax, expSum: asmExpSum,
		relu: asmRelu, sqrt: asmSqrt, reciprocal: asmReciprocal,
		exp: asmExp, tanh: asmTanh, erf: asmErf, sigmoid: asmSigmoid, gelu: asmGelu, geluTanh: asmGeluTanh, silu: asmSiLU,
		tanhGrad: asmTanhGrad, sigmoidGrad: asmSigmoidGrad, reluGrad: asmReluGrad,
		erfGrad: asmErfGrad, geluGrad: asmGeluGrad, geluTanhGrad: asmGeluTanhGrad, sigmoidMul: asmSigmoidMul, siluGrad: asmSiLUGrad,
		adamW: asmAdamW, sgd: asmSGD, sgdMomentum: asmSGDMomentum, sgdNesterov: asmSGDNesterov,
		rotate: asmRotate,
	}
}
