package engine

import "fmt"

// builder turns a node into calls of operators and returns its outputs; trailing outputs nobody asked for may be missing.
type builder func(c *compiler, s *step, in []*value) ([]*value, error)

// entry is one ONNX operator: how many operands it takes (the first min are not optional; max -1 is any number) and its builder.
type entry struct {
	min, max int
	build    builder
}

// registry holds every operator by domain and name. The families register themselves in init functions beside their code.
var registry = map[string]map[string]entry{"": {}, microsoft: {}}

// microsoft is the domain of ONNX Runtime's own operators.
const microsoft = "com.microsoft"

func register(domain, op string, min, max int, b builder) {
	if _, twice := registry[domain][op]; twice {
		panic("engine: operator registered twice: " + domain + "." + op)
	}
	registry[domain][op] = entry{min, max, b}
}

// Supported reports whether the engine has an operator of that name; "" and "ai.onnx" are the same domain. Attributes or
// operand types of a node may still be refused when a program is compiled.
func Supported(domain, op string) bool {
	_, ok := lookup(domain, op)
	return ok
}

func lookup(domain, op string) (entry, bool) {
	if domain == "ai.onnx" {
		domain = ""
	}
	e, ok := registry[domain][op]
	return e, ok
}

// simple registers an operator that is one call: make reads the attributes.
func simple(domain, op string, min, max int, make func(s *step) (operator, error)) {
	register(domain, op, min, max, func(c *compiler, s *step, in []*value) ([]*value, error) {
		o, err := make(s)
		if err != nil {
			return nil, err
		}
		return c.apply(s.label, o, in...)
	})
}

// checkOperands refuses a node with too few or too many operands.
func (e entry) checkOperands(in []*value) error {
	n := len(in)
	for n > 0 && in[n-1] == nil {
		n--
	}
	if e.max >= 0 && n > e.max {
		return fmt.Errorf("%d operands, at most %d are defined", n, e.max)
	}
	for i := range e.min {
		if i >= n || in[i] == nil {
			return fmt.Errorf("operand %d is missing", i)
		}
	}
	return nil
}
