package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// settings reads consecutive numbers from the array that p points to.
func settings(names ...string) func(*loop) {
	return func(k *loop) {
		p := Load(Param("p"), GP64())
		for i, name := range names {
			k.value[name] = k.load32(Mem{Base: p, Disp: 4 * i})
		}
	}
}

func optimizers() []*kernel {
	adam := &kernel{name: "asmAdamW", signature: "func(w, grad, mean, square *float32, n int, p *[8]float32)", doc: "asmAdamW is a step of AdamW with the numbers of adamW.",
		slices: []string{"w", "grad", "mean", "square"}, unroll: 1,
		prepare: settings("scale", "decay", "rate1", "beta2", "rate2", "correction", "eps", "step"),
		body: func(k *loop) {
			d := k.mul32(k.load("grad"), k.value["scale"])
			m := k.load("mean")
			m = k.add32(m, k.mul32(k.value["rate1"], k.sub32(d, m)))
			k.store("mean", m)
			v := k.add32(k.mul32(k.load("square"), k.value["beta2"]), k.mul32(k.mul32(d, d), k.value["rate2"]))
			k.store("square", v)
			denominator := k.add32(k.mul32(k.sqrt32(v), k.value["correction"]), k.value["eps"])
			k.store("w", k.add32(k.mul32(k.load("w"), k.value["decay"]), k.div32(k.mul32(k.value["step"], m), denominator)))
		}}
	return []*kernel{adam}
}
