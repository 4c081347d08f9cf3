"""Writes neural.json: results and gradients of PyTorch's norms, attention and losses in float64. Made with PyTorch 2.15."""
import json
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
gen = torch.Generator().manual_seed(5)
cases = []


def rand(*shape):
    # Few digits, so that the file is small and every number is exact in it.
    return (torch.randn(*shape, generator=gen) * 64).round() / 64


def case(name, op, opset, f, operands, labels=None, outputs="y", **attrs):
    """operands are the trained ones by name, in the operator's order; labels is an operand of integers behind the first."""
    leaves = {k: v.clone().requires_grad_() for k, v in operands.items()}
    y = f(*leaves.values())
    dy = rand(*y.shape) if y.dim() else torch.tensor(1.0)
    grads = torch.autograd.grad(y, list(leaves.values()), dy)
    pack = lambda t: {"dims": list(t.shape), "data": t.detach().flatten().tolist()}
    names = list(operands)
    if labels is not None:
        names.insert(1, "labels")
    cases.append({
        "name": name, "op": op, "opset": opset, "attrs": attrs, "in": ",".join(names), "out": outputs,
        "operands": {k: pack(v) for k, v in operands.items()},
        "labels": None if labels is None else pack(labels),
        "y": pack(y), "dy": pack(dy), "grads": {k: pack(g) for k, g in zip(operands, grads)},
    })


x, g, b = rand(3, 2, 20), rand(20), rand(20)
case("layer norm", "LayerNormalization", 17, lambda x, g, b: F.layer_norm(x, (20,), g, b, 1e-5), {"x": x, "g": g, "b": b}, epsilon=1e-5)
case("RMS norm", "RMSNormalization", 23, lambda x, g: F.rms_norm(x, (20,), g, 1e-5), {"x": x, "g": g}, epsilon=1e-5)
image, g, b = rand(2, 6, 3, 4), rand(6), rand(6)
case("group norm", "GroupNormalization", 21, lambda x, g, b: F.group_norm(x, 3, g, b, 1e-5), {"x": image, "g": g, "b": b}, num_groups=3, epsilon=1e-5)
case("instance norm", "InstanceNormalization", 17, lambda x, g, b: F.instance_norm(x, weight=g, bias=b, eps=1e-5), {"x": image, "g": g, "b": b}, epsilon=1e-5)
mean, var = rand(6), rand(6).abs() + 0.5
case("batch norm", "BatchNormalization", 15, lambda x, g, b: F.batch_norm(x, None, None, g, b, True, 0.1, 1e-5),
     {"x": image, "g": g, "b": b}, outputs="y,mean,var", training_mode=1, epsilon=1e-5)
case("softmax", "Softmax", 13, lambda x: F.softmax(x, 1), {"x": image}, axis=1)
case("log-softmax", "LogSoftmax", 13, lambda x: F.log_softmax(x, -1), {"x": image}, axis=-1)
case("L2 norm", "LpNormalization", 17, lambda x: F.normalize(x, dim=-1), {"x": x}, axis=-1, p=2)

q, k, v = rand(2, 4, 5, 8), rand(2, 2, 7, 8), rand(2, 2, 7, 8)
wide = lambda t: t.repeat_interleave(2, 1)
case("grouped attention", "Attention", 23, lambda q, k, v: F.scaled_dot_product_attention(q, wide(k), wide(v)), {"q": q, "k": k, "v": v})
case("biased attention", "Attention", 23, lambda q, k, v, m: F.scaled_dot_product_attention(q, wide(k), wide(v), m, scale=0.5),
     {"q": q, "k": k, "v": v, "m": rand(1, 4, 5, 7)}, scale=0.5)
k, v = rand(2, 4, 5, 8), rand(2, 4, 5, 8)
case("causal attention", "Attention", 23, lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), {"q": q, "k": k, "v": v}, is_causal=1)


def capped(q, k, v):
    s = q @ k.transpose(-1, -2) * 8**-0.5
    return (1.5 * torch.tanh(s / 1.5)).softmax(-1) @ v


case("attention with a soft cap", "Attention", 23, capped, {"q": q, "k": k, "v": v}, softcap=1.5)

scores, labels = rand(3, 9, 4), torch.randint(0, 9, (3, 4), generator=gen)
labels[0, 1] = labels[2, 2] = -100
for reduction in ["mean", "sum", "none"]:
    case("cross-entropy, " + reduction, "SoftmaxCrossEntropyLoss", 13, lambda x: F.cross_entropy(x, labels, reduction=reduction),
         {"x": scores}, labels, reduction=reduction, ignore_index=-100)
    case("negative log-likelihood, " + reduction, "NegativeLogLikelihoodLoss", 13, lambda x: F.nll_loss(x, labels, reduction=reduction),
         {"x": scores}, labels, reduction=reduction, ignore_index=-100)
with open("neural.json", "w") as f:
    json.dump(cases, f)
    f.write("\n")
