package engine

import "slices"

// fuseLoss makes one cross-entropy of logarithms of a softmax and the loss that picks the labels' among them: one pass over the scores
// instead of three, and nothing of their size to keep for the gradient.
func fuseLoss(f *fuser, k *call) (*value, error) {
	loss, ok := k.op.(*lossOp)
	if !ok || !loss.picked {
		return nil, nil
	}
	// The classes may have been brought to the end and back. at is where they are, on the way up.
	logs := behind(k.in[0])
	at := logs.rank() - 1
	var perms [][]int64
	for {
		t, ok := produced[*transposeOp](logs)
		if !ok || t.perm == nil || !f.sole(logs) {
			break
		}
		perms, at = append(perms, t.perm), int(t.perm[at])
		logs = behind(logs.from.in[0])
	}
	log := true
	if u, ok := produced[unaryOp](logs); ok && u.name == "Log" && f.sole(logs) {
		log, logs = false, behind(logs.from.in[0])
	}
	s, ok := produced[*softmaxOp](logs)
	if !ok || s.log != log || !f.sole(logs) || s.axis != at || at != logs.rank()-1 {
		return nil, nil
	}
	scores := logs.from.in[0]
	for _, p := range slices.Backward(perms) {
		var err error
		if scores, err = f.transpose(k.label, scores, p...); err != nil {
			return nil, err
		}
	}
	op := &lossOp{reduction: loss.reduction, ignores: loss.ignores, ignored: loss.ignored}
	return f.one(k.label, op, append([]*value{scores}, k.in[1:]...)...)
}
