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
	gradient := func(k *loop) (w, d vec) {
		w = k.load("w")
		return w, k.add32(k.mul32(k.load("grad"), k.value["scale"]), k.mul32(k.value["decay"], w))
	}
	move := func(k *loop, w, d vec) { k.store("w", k.add32(w, k.mul32(k.value["step"], d))) }
	momentum := func(name string, nesterov bool) *kernel {
		return &kernel{name: name, signature: "func(w, grad, mean *float32, n int, p *[4]float32)", doc: name + " is a step of SGD with the numbers of sgd.",
			slices: []string{"w", "grad", "mean"}, unroll: 1, prepare: settings("scale", "decay", "momentum", "step"),
			body: func(k *loop) {
				w, d := gradient(k)
				a := k.add32(k.mul32(k.load("mean"), k.value["momentum"]), d)
				k.store("mean", a)
				if nesterov {
					a = k.add32(d, k.mul32(k.value["momentum"], a))
				}
				move(k, w, a)
			}}
	}
	plain := &kernel{name: "asmSGD", signature: "func(w, grad *float32, n int, p *[4]float32)", doc: "asmSGD is a step of SGD without momentum.",
		slices: []string{"w", "grad"}, unroll: 1, prepare: settings("scale", "decay", "momentum", "step"),
		body: func(k *loop) {
			w, d := gradient(k)
			move(k, w, d)
		}}
	return []*kernel{adam, plain, momentum("asmSGDMomentum", false), momentum("asmSGDNesterov", true)}
}
