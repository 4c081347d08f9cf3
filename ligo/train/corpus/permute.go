package corpus

import "math/bits"

// permutation is a seeded bijection of 0…n-1 that needs no memory: a Feistel network on the next even number of bits, walked until
// it comes out below n (Black and Rogaway, Ciphers with arbitrary finite domains, 2002). It shuffles; it is no cipher.
type permutation struct {
	n    uint64
	half uint // bits of one side
	keys [rounds]uint64
}

const rounds = 6

func permute(seed, epoch, n uint64) permutation {
	p := permutation{n: n, half: uint(bits.Len64(n-1)+1) / 2}
	key := mix(seed) ^ mix(epoch+0x632BE59BD9B4E019)
	for i := range p.keys {
		key = mix(key + uint64(i))
		p.keys[i] = key
	}
	return p
}

func (p permutation) at(i uint64) uint64 {
	if p.n < 2 {
		return i
	}
	for i = p.pass(i); i >= p.n; {
		i = p.pass(i)
	}
	return i
}

func (p permutation) pass(x uint64) uint64 {
	mask := uint64(1)<<p.half - 1
	left, right := x>>p.half, x&mask
	for _, k := range p.keys {
		left, right = right, left^mix(right^k)&mask
	}
	return left<<p.half | right
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood, 2014): a bijection of 64 bits that looks random.
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}
