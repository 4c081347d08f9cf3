//go:build !amd64 || noasm

package kernel

func vecLevels() []int { return []int{0} }

func setVecLevel(int) {}
