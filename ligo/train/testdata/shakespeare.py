#!/usr/bin/env python3
"""Prints the losses of 20 steps of PyTorch on trained/gpt2_shakespeare from random weights, for shakespeare_test.go.

usage: shakespeare.py RANDOM.onnx shakespeare_train.bin > shakespeare.json
where RANDOM.onnx is the model with the weights of --init random --seed 1, before the first step. Made with torch 2.15.0, onnx 1.23.2.
"""
import json, os, sys

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../fixtures/export"))
from plain_models import GPT2LM

STEPS, B, T, STRIDE = 20, 24, 64, 9973


def main():
    weights = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in onnx.load(sys.argv[1]).graph.initializer}
    data = torch.from_numpy(np.fromfile(sys.argv[2], dtype="<u2").astype(np.int64))
    model = GPT2LM(3, 96, 3, 65, P=128)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(weights[name])
    opt = torch.optim.AdamW([{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
                             {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0}], lr=1e-3, betas=(0.9, 0.95))
    losses = []
    for step in range(STEPS):
        at = [(step * B + i) * STRIDE % (len(data) - T) for i in range(B)]
        x, y = torch.stack([data[j:j + T] for j in at]), torch.stack([data[j + 1:j + T + 1] for j in at])
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        losses.append(loss.item())
    json.dump(losses, sys.stdout)


main()
