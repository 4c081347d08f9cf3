"""Writes the model (model.onnx) and the batches (data.bin) of a case: prepare.py FOLDER, which holds case.json.

data.bin is int64, little-endian, [batches, 2, batch, length]: ids, then labels. gpt2 predicts the next token; bert predicts the tokens
that a seventh of the positions had. Other labels are -100, which the loss leaves out.
"""
import json
import os
import sys
import warnings

import numpy as np
import torch

import models

warnings.filterwarnings("ignore")
folder = sys.argv[1]
with open(os.path.join(folder, "case.json")) as f:
    case = json.load(f)
rng = np.random.default_rng(1)
ids = rng.integers(0, case["vocabulary"], (case["batches"], case["batch"], case["length"]))
labels = np.full_like(ids, models.IGNORED)
if case["family"] == "gpt2":
    labels[:, :, :-1] = ids[:, :, 1:]
else:
    chosen = rng.random(ids.shape) < 1 / 7
    labels[chosen] = ids[chosen]
    ids[chosen] = case["vocabulary"] - 1
np.stack([ids, labels], 1).astype("<i8").tofile(os.path.join(folder, "data.bin"))
model = models.build(case["family"], case["layers"], case["hidden"], case["vocabulary"], case["length"])
models.export(model, case["family"], torch.from_numpy(ids[0]), os.path.join(folder, "model.onnx"))
