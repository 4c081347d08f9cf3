// Package learn learns growth operators: LiGO (Wang et al., ICLR 2023). The large model's weights are expressions of the frozen small
// weights and of the operator's matrices and blends (ligo.Learnable); the task's own loss is trained by those for some steps, and what
// they have become is the operator. The loss on held-out data is measured before, during and after, and the best operator is kept: the
// result is never worse than its start on that data.
package learn
