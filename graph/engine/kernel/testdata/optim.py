"""Writes optim.json: parameters after steps of PyTorch's optimizers in float64. Made with PyTorch 2.15."""
import json
import torch

torch.set_default_dtype(torch.float64)
N, STEPS = 37, 5
gen = torch.Generator().manual_seed(3)
start = torch.randn(N, generator=gen)
grads = [torch.randn(N, generator=gen) * 10 ** (k - 2) for k in range(STEPS)]
cases = []


def run(kind, scale=1.0, **options):
    w = torch.nn.Parameter(start.clone())
    optimizer = getattr(torch.optim, kind)([w], **options)
    trace = []
    for g in grads:
        w.grad = g * scale
        optimizer.step()
        trace.append(w.detach().tolist())
    options["betas"] = options.get("betas", [0, 0])
    cases.append({"kind": kind, "scale": scale, "options": options, "trace": trace})


run("AdamW", lr=1e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01)
run("AdamW", lr=0.3, betas=[0.6, 0.95], eps=1e-4, weight_decay=0.0, scale=0.25)
run("AdamW", lr=0.05, betas=[0.3, 0.5], eps=1e-6, weight_decay=0.5)
run("SGD", lr=0.01)
run("SGD", lr=0.1, weight_decay=0.3, scale=2.0)
run("SGD", lr=0.1, momentum=0.9, weight_decay=0.01)
run("SGD", lr=0.1, momentum=0.7, nesterov=True, weight_decay=0.2, scale=0.5)
with open("optim.json", "w") as f:
    json.dump({"start": start.tolist(), "grads": [g.tolist() for g in grads], "cases": cases}, f)
    f.write("\n")
