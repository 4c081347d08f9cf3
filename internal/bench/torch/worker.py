"""One process of the benchmark: PyTorch (train, forward) or ONNX Runtime (forward) on a case that bench.py has prepared.

Reads how many steps to make from a line of standard input and answers with their times and losses as a line of JSON; at the end of the
input it answers with its peak memory.
"""
import argparse
import json
import os
import resource
import sys
import time

import numpy as np


def torch_step(case, options):
    import torch

    import models
    torch.set_num_threads(options.threads)
    model = models.build(case["family"], case["layers"], case["hidden"], case["vocabulary"], case["length"], fast=options.fast)
    batches = [(torch.from_numpy(i), torch.from_numpy(l)) for i, l in load(options.case, case)]
    if options.mode == "forward":
        model.eval()

        def forward(i):
            with torch.inference_mode():
                logits = model(*models.inputs(case["family"], batches[i][0]))
            return logits.flatten()[0].item()
        return forward
    optimizer = torch.optim.AdamW(model.parameters(), lr=case["lr"], weight_decay=case["weight_decay"], fused=options.adamw == "fused",
                                  foreach=options.adamw == "foreach")

    def step(i):
        ids, labels = batches[i]
        optimizer.zero_grad()
        loss = models.loss(model(*models.inputs(case["family"], ids)), labels)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


def runtime_step(case, options):
    import onnxruntime
    o = onnxruntime.SessionOptions()
    o.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    o.intra_op_num_threads = options.threads
    o.add_session_config_entry("session.intra_op.allow_spinning", "1")
    session = onnxruntime.InferenceSession(os.path.join(options.case, "model.onnx"), o, providers=["CPUExecutionProvider"])
    given = [i.name for i in session.get_inputs()]
    batches = load(options.case, case)

    def forward(i):
        ids = batches[i][0]
        full = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return float(session.run(None, {n: full[n] for n in given})[0].flat[0])
    return forward


def load(folder, case):
    shape = (case["batches"], 2, case["batch"], case["length"])
    data = np.fromfile(os.path.join(folder, "data.bin"), "<i8").reshape(shape)
    return [(np.ascontiguousarray(b[0]), np.ascontiguousarray(b[1])) for b in data]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--case", required=True, help="folder with case.json, data.bin and model.onnx")
    p.add_argument("--mode", choices=["train", "forward"], required=True)
    p.add_argument("--by", choices=["torch", "onnxruntime"], default="torch")
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--fast", action="store_true", help="the model as PyTorch runs it fastest")
    p.add_argument("--adamw", choices=["fused", "foreach"], default="fused")
    options = p.parse_args()
    with open(os.path.join(options.case, "case.json")) as f:
        case = json.load(f)
    step = (torch_step if options.by == "torch" else runtime_step)(case, options)
    base, done = peak(), 0
    print("ready", flush=True)
    for line in sys.stdin:
        seconds, cpu, values = [], [], []
        for _ in range(int(line)):
            start, worked = time.perf_counter(), time.process_time()
            values.append(step(done % case["batches"]))
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - worked)
            done += 1
        print(json.dumps({"seconds": seconds, "cpu": cpu, "values": values}), flush=True)
    print(json.dumps({"peak": peak(), "base": base}), flush=True)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


main()
