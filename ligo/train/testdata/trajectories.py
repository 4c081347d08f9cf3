#!/usr/bin/env python3
"""Makes tiny_gpt.onnx and trajectories.json: what PyTorch's optimizers and transformers' schedules do to a transformer of one layer.

Made with torch 2.15.0, transformers 4.57.6, onnx 1.23.2. usage: trajectories.py (in this folder)
"""
import json, os, sys

import torch
import torch.nn.functional as F
from transformers import get_scheduler

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../fixtures/export"))
from plain_models import GPT2LM, randomize

L, D, H, V, P = 1, 16, 2, 11, 8
STEPS, ACCUMULATE, B, T = 20, 2, 3, 6
MULTIPLE = 2 * STEPS * B  # of sequences


def decayed(model):
    """Weight decay on matrices only, as is usual."""
    return [p for p in model.parameters() if p.dim() >= 2], [p for p in model.parameters() if p.dim() < 2]


def main():
    torch.manual_seed(0)
    model = randomize(GPT2LM(L, D, H, V, P))
    ids = torch.zeros(2, 5, dtype=torch.long)
    axes = {0: "batch", 1: "sequence"}
    torch.onnx.export(model, (ids,), "tiny_gpt.onnx", opset_version=17, input_names=["input_ids"], output_names=["logits"],
                      dynamic_axes={"input_ids": axes, "logits": axes}, dynamo=False)
    start = {k: v.clone() for k, v in model.state_dict().items()}

    g = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, V, (MULTIPLE, T + 1), generator=g)
    labels = tokens[:, 1:].clone()
    labels[torch.rand(labels.shape, generator=g) < 0.3] = -100  # so that micro-batches count different numbers
    teacher = torch.randn(MULTIPLE, T, V, generator=g)

    def causal(m, at):
        return F.cross_entropy(m(tokens[at, :-1]).flatten(0, 1), labels[at].flatten(), reduction="sum"), int((labels[at] != -100).sum())

    def mse(m, at):
        y = m(tokens[at, :-1])
        return F.mse_loss(y, teacher[at].to(y.dtype), reduction="sum"), y.numel()

    def distill(m, at):
        y, t = m(tokens[at, :-1]), 2.0
        s, z = F.log_softmax(y / t, -1), F.log_softmax(teacher[at].to(y.dtype) / t, -1)
        return F.kl_div(s, z, reduction="sum", log_target=True) * t * t, y.shape[0] * y.shape[1]

    def hard(m, at):
        y, t, w = m(tokens[at, :-1]), 3.0, 0.25
        keep = labels[at].flatten() != -100
        s, z = (F.log_softmax(x.flatten(0, 1)[keep] / t, -1) for x in (y, teacher[at].to(y.dtype)))
        kl = F.kl_div(s, z, reduction="sum", log_target=True) * t * t
        return (1 - w) * kl + w * F.cross_entropy(y.flatten(0, 1), labels[at].flatten(), reduction="sum"), int(keep.sum())

    runs = {
        "adamw": (causal, lambda a, b: torch.optim.AdamW([{"params": a, "weight_decay": 0.1}, {"params": b, "weight_decay": 0}], lr=3e-3, betas=(0.9, 0.95), eps=1e-8),
                  lambda o: get_scheduler("cosine_with_min_lr", o, 4, STEPS, scheduler_specific_kwargs={"min_lr": 3e-4}), 0.5),
        "sgd": (causal, lambda a, b: torch.optim.SGD([{"params": a, "weight_decay": 0.01}, {"params": b, "weight_decay": 0}], lr=0.05, momentum=0.9, nesterov=True),
                lambda o: get_scheduler("linear", o, 3, STEPS), None),
        "plain sgd": (mse, lambda a, b: torch.optim.SGD(a + b, lr=0.1, weight_decay=0.01), lambda o: get_scheduler("constant_with_warmup", o, 5), 1.0),
        "distill": (distill, lambda a, b: torch.optim.AdamW(a + b, lr=1e-3, weight_decay=0.01), lambda o: get_scheduler("cosine", o, 0, STEPS), None),
        "distill with labels": (hard, lambda a, b: torch.optim.AdamW(a + b, lr=1e-3, weight_decay=0), lambda o: get_scheduler("constant", o), None),
    }
    out = {"tokens": tokens.tolist(), "labels": labels.tolist(), "teacher": teacher.flatten().tolist(), "runs": {}}
    for name, (loss, optimizer, schedule, clip) in runs.items():
        for dtype in ("float32", "float64"):
            model.load_state_dict(start)
            model.to(getattr(torch, dtype))
            opt = optimizer(*decayed(model))
            sched = schedule(opt)
            points = []
            for step in range(STEPS):
                micro = [loss(model, slice((step * ACCUMULATE + i) * B, (step * ACCUMULATE + i + 1) * B)) for i in range(ACCUMULATE)]
                count = sum(n for _, n in micro)
                opt.zero_grad()
                for l, _ in micro:
                    (l / count).backward()
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip or 1e9)
                points.append({"loss": sum(l.item() for l, _ in micro) / count, "grad_norm": norm.item(), "lr": sched.get_last_lr()[0], "counted": count})
                opt.step()
                sched.step()
            out["runs"][f"{name} {dtype}"] = points
            model.to(torch.float32)
    json.dump(out, open("trajectories.json", "w"))


main()
