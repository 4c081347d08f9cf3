package blocks

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
)

func deepen(g *graph.Graph, s *Structure, layers [][]Layer) (*Deep, error) {
	if len(layers) != len(s.Stages) {
		return nil, fmt.Errorf("blocks: layers for %d stages, the model has %d", len(layers), len(s.Stages))
	}
	for i, ls := range layers {
		if err := checkLayers(s.Stages[i], ls); err != nil {
			return nil, fmt.Errorf("blocks: stage %d: %w", i, err)
		}
	}
	d := newDeepener(g)
	out := &Deep{Graph: d.to, Values: d.from, Nodes: d.fromNode}
	for i, st := range s.Stages {
		ls := layers[i]
		if ls == nil {
			ls = asItIs(st)
		}
		consts, err := d.stage(st, ls)
		if err != nil {
			return nil, fmt.Errorf("blocks: stage %d: %w", i, err)
		}
		out.Consts = append(out.Consts, consts)
	}
	if err := d.to.Sort(); err != nil {
		return nil, fmt.Errorf("blocks: a new layer reads values of a layer after it: %w", err)
	}
	d.to.Prune()
	for _, v := range d.unused {
		if len(v.Uses) == 0 && !d.to.IsOutput(v) {
			d.to.RemoveInput(v)
		}
	}
	return out, nil
}

func asItIs(st *Stage) []Layer {
	ls := make([]Layer, len(st.Blocks))
	for i := range ls {
		ls[i].Source = i
	}
	return ls
}

func checkLayers(st *Stage, ls []Layer) error {
	if ls == nil {
		return nil
	}
	if len(ls) == 0 {
		return fmt.Errorf("no layers are left")
	}
	last, fresh := -1, false
	for i, l := range ls {
		if l.Source < 0 || l.Source >= len(st.Blocks) {
			return fmt.Errorf("layer %d is made from layer %d of %d", i, l.Source, len(st.Blocks))
		}
		fresh = fresh || l.New
		if l.New {
			continue
		}
		if l.Source <= last {
			return fmt.Errorf("layer %d keeps layer %d after layer %d", i, l.Source, last)
		}
		last = l.Source
	}
	if n := uncopyable(st.Blocks); fresh && n != nil {
		return fmt.Errorf("node %s reads values of its layer in a sub-graph, which cannot be copied", n)
	}
	return nil
}

// deepener edits a clone of a graph, with the untouched original as the template of new layers.
type deepener struct {
	g        *graph.Graph
	to       *graph.Graph
	value    map[*graph.Value]*graph.Value // original -> clone
	node     map[*graph.Node]*graph.Node
	from     map[*graph.Value]*graph.Value // of the clone -> original
	fromNode map[*graph.Node]*graph.Node
	origins  map[string][]*graph.Value // the original's constants by origin
	unused   []*graph.Value            // inputs of layers that went away
}

func newDeepener(g *graph.Graph) *deepener {
	d := &deepener{g: g, to: g.Clone(), value: map[*graph.Value]*graph.Value{}, node: map[*graph.Node]*graph.Node{},
		from: map[*graph.Value]*graph.Value{}, fromNode: map[*graph.Node]*graph.Node{}}
	pair := func(v, w *graph.Value) {
		if v != nil {
			d.value[v], d.from[w] = w, v
		}
	}
	for i, v := range g.Inputs {
		pair(v, d.to.Inputs[i])
	}
	d.origins = map[string][]*graph.Value{}
	for i, v := range g.Consts {
		pair(v, d.to.Consts[i])
		d.origins[v.Origin] = append(d.origins[v.Origin], v)
	}
	for i, n := range g.Nodes {
		m := d.to.Nodes[i]
		d.node[n], d.fromNode[m] = m, n
		for j, v := range n.Out {
			pair(v, m.Out[j])
		}
	}
	return d
}

// stage puts the layers of one stage in order and gives their constants by layer and module.
func (d *deepener) stage(st *Stage, ls []Layer) ([][]*graph.Value, error) {
	last := len(st.Blocks) - 1
	end, tail := d.value[st.Blocks[last].Out[0]], d.readers(st, last)
	readers := make([][]graph.Use, last) // before there are new layers, which read the stream where it is right
	for i := range readers {
		readers[i] = d.readers(st, i)
	}
	// What else reads the stream after the blocks lo..hi-1, which go away, reads it where they were.
	bypass := func(lo, hi int, cur *graph.Value) {
		for i := lo; i < hi; i++ {
			d.rewire(readers[i], d.value[st.Blocks[i].Out[0]], cur)
		}
	}
	cur := make([]*graph.Value, len(st.Blocks[0].In))
	for i, v := range st.Blocks[0].In {
		if cur[i] = d.value[v]; cur[i] == nil {
			return nil, fmt.Errorf("the stream starts in %q, which is not in the graph", v.Name)
		}
	}
	var consts [][]*graph.Value
	var fresh []*layerCopy
	number, kept := len(st.Blocks), 0 // kept: blocks below it are dealt with
	for i, l := range ls {
		width := 1 // of the boundary that follows
		if i < len(ls)-1 {
			width = len(cur)
		}
		of := d.value
		var next []*graph.Value
		var err error
		if l.New {
			c := d.newLayer(st, l.Source, &number)
			c.copyNodes(cur, width)
			fresh = append(fresh, c)
			of = c.value
			next, err = c.ends(width)
		} else {
			bypass(kept, l.Source, cur[0])
			kept = l.Source + 1
			d.enter(st.Blocks[l.Source], cur)
			next, err = d.ends(st, l.Source, width)
		}
		if err != nil {
			return nil, err
		}
		row := make([]*graph.Value, len(st.Modules))
		for m, mod := range st.Modules {
			row[m] = of[mod.Consts[l.Source]]
		}
		consts, cur = append(consts, row), next
	}
	bypass(kept, last, cur[0])
	if cur[0] != end {
		d.rewire(tail, end, cur[0])
		d.value[st.Blocks[last].Out[0]] = cur[0] // for the new layers of later stages
		if d.to.IsOutput(end) && !slices.Contains(st.Blocks[last].Outputs, st.Blocks[last].Out[0]) {
			d.moveOutput(end, cur[0])
		}
	}
	d.caches(st, ls, fresh)
	return consts, nil
}

// readers lists the operands outside the stage that read the stream after block i.
func (d *deepener) readers(st *Stage, i int) []graph.Use {
	inside := map[*graph.Node]bool{}
	for _, bl := range st.Blocks {
		for _, n := range bl.Nodes {
			inside[d.node[n]] = true
		}
	}
	var out []graph.Use
	for _, u := range d.value[st.Blocks[i].Out[0]].Uses {
		if !inside[u.Node] && u.Index >= 0 {
			out = append(out, u)
		}
	}
	return out
}

func (d *deepener) rewire(uses []graph.Use, from, to *graph.Value) {
	for _, u := range uses {
		if u.Node.In[u.Index] == from {
			d.to.SetInput(u.Node, u.Index, to)
		}
	}
}

// moveOutput makes v the graph output that old was. The names change places: the signature stays.
func (d *deepener) moveOutput(old, v *graph.Value) {
	uses := old.Uses
	old.Uses = nil // only the output moves
	d.to.ReplaceUses(old, v)
	old.Uses = uses
}

// enter lets a block that stays read the stream from cur.
func (d *deepener) enter(bl *Block, cur []*graph.Value) {
	for k, v := range bl.In {
		if d.value[v] == cur[k] {
			continue
		}
		for _, n := range bl.Nodes {
			for j, w := range n.In {
				if w == v {
					d.to.SetInput(d.node[n], j, cur[k])
				}
			}
		}
	}
}

// ends gives what a block that stays hands on. The last block of a model with fused skip-norms gives no sum; as soon as another
// layer follows, it must.
func (d *deepener) ends(st *Stage, block, width int) ([]*graph.Value, error) {
	out := st.Blocks[block].Out
	next := []*graph.Value{d.value[out[0]]}
	if width == 1 {
		return next, nil
	}
	if len(out) == 2 {
		return append(next, d.value[out[1]]), nil
	}
	v, err := d.sumOf(st, next[0], st.numbering.layer(block))
	return append(next, v), err
}

// sumOf makes the norm operator that gives `normed` give its sum, too.
func (d *deepener) sumOf(st *Stage, normed *graph.Value, layer int) (*graph.Value, error) {
	var model *graph.Value // the sum of another block
	for _, bl := range st.Blocks {
		if len(bl.Out) == 2 && bl.Out[0].Producer == bl.Out[1].Producer {
			model = bl.Out[1]
		}
	}
	n := normed.Producer
	if model == nil || n == nil {
		return nil, fmt.Errorf("the sum that %q norms is not to be had for a further layer", normed.Name)
	}
	for len(n.Out) <= model.OutIndex {
		n.Out = append(n.Out, nil)
	}
	if n.Out[model.OutIndex] == nil {
		v := d.to.NewValue(fmt.Sprintf("%s_sum_layer%d", normed.Name, layer), model.Type)
		v.Producer, v.OutIndex = n, model.OutIndex
		n.Out[model.OutIndex] = v
		d.from[v] = model
	}
	return n.Out[model.OutIndex], nil
}
