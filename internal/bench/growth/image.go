package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// glyphs is the number of classes.
const glyphs = 10

type point struct{ x, y float64 }

// strokes of each class, in a square from -1 to 1. Some differ in one stroke only.
var strokes = [glyphs][][]point{
	{{{-.6, -.8}, {.6, -.8}, {.6, .8}, {-.6, .8}, {-.6, -.8}}},            // a box
	{{{-.6, .8}, {-.6, -.8}, {.6, -.8}, {.6, .8}}},                        // open above
	{{{-.6, -.8}, {.6, -.8}, {.6, .8}, {-.6, .8}}},                        // open to the left
	{{{.6, -.8}, {-.6, -.8}, {-.6, .8}, {.6, .8}}, {{-.6, 0}, {.3, 0}}},   // E
	{{{-.6, -.8}, {-.6, .8}, {.6, .8}}, {{-.6, 0}, {.3, 0}}},              // F
	{{{-.6, -.8}, {-.6, .8}}, {{.6, -.8}, {.6, .8}}, {{-.6, 0}, {.6, 0}}}, // H
	{{{-.6, -.8}, {-.6, .8}, {.6, -.8}, {.6, .8}}},                        // N
	{{{-.6, .8}, {.6, .8}, {-.6, -.8}, {.6, -.8}}},                        // Z
	{{{.6, .8}, {-.6, .8}, {-.6, 0}, {.6, 0}, {.6, -.8}, {-.6, -.8}}},     // S
	{{{-.6, .8}, {.6, .8}, {.6, 0}, {-.6, 0}}, {{-.6, .8}, {-.6, -.8}}},   // P
}

// imageSource draws glyphs: turned, sheared, scaled, moved, with unsteady corners, over noise, and crossed by two strokes that mean
// nothing. Every example is new.
type imageSource struct{ size int }

func (s imageSource) describe() string {
	return fmt.Sprintf("%d drawn signs on %d x %d pixels, turned, sheared, moved, crossed by strokes and with noise; every example is new", glyphs, s.size, s.size)
}

func (s imageSource) batch(split split, seed uint64, i, rows int) (inputs, labels *onnxio.Tensor) {
	rng := numbers(seed, uint64(split), uint64(i))
	n := s.size * s.size
	pixels, classes := make([]float32, rows*n), make([]int64, rows)
	for r := range rows {
		c := rng.IntN(glyphs)
		classes[r] = int64(c)
		s.draw(rng, c, pixels[r*n:(r+1)*n])
	}
	return onnxio.FromFloat32s("", []int64{int64(rows), 1, int64(s.size), int64(s.size)}, pixels), onnxio.FromInt64s("", []int64{int64(rows)}, classes)
}

func (s imageSource) draw(rng *rand.Rand, class int, to []float32) {
	between := func(a, b float64) float64 { return a + (b-a)*rng.Float64() }
	half := float64(s.size) / 2
	sin, cos := math.Sincos(between(-.35, .35))
	scale, shear, aspect := half*between(.5, .85), between(-.25, .25), between(.75, 1.2)
	dx, dy := half+between(-.18, .18)*half, half+between(-.18, .18)*half
	place := func(p point) point {
		x, y := (p.x+between(-.1, .1)+shear*p.y)*aspect, p.y+between(-.1, .1)
		return point{dx + scale*(cos*x-sin*y), dy - scale*(sin*x+cos*y)}
	}
	ink := make([]float64, len(to))
	width := between(.7, 1.3)
	for _, line := range strokes[class] {
		last := place(line[0])
		for _, p := range line[1:] {
			next := place(p)
			s.stroke(ink, last, next, width, 1)
			last = next
		}
	}
	for range 2 {
		anywhere := func() point { return point{between(0, 2*half), between(0, 2*half)} }
		s.stroke(ink, anywhere(), anywhere(), between(.5, 1), between(.3, .7))
	}
	contrast := between(.7, 1.3)
	for i, v := range ink {
		to[i] = float32(contrast*v - .2 + .25*rng.NormFloat64())
	}
}

// stroke draws a line whose ink falls off within a pixel of its edge.
func (s imageSource) stroke(ink []float64, a, b point, width, strength float64) {
	dx, dy := b.x-a.x, b.y-a.y
	length := dx*dx + dy*dy
	for y := range s.size {
		for x := range s.size {
			px, py := float64(x)+.5-a.x, float64(y)+.5-a.y
			t := 0.0
			if length > 0 {
				t = min(1, max(0, (px*dx+py*dy)/length))
			}
			d := math.Hypot(px-t*dx, py-t*dy)
			if v := strength * min(1, max(0, width+.5-d)); v > ink[y*s.size+x] {
				ink[y*s.size+x] = v
			}
		}
	}
}
