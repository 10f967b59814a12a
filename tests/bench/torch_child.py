#!/usr/bin/python3
"""One of the benchmarked models in PyTorch on the CPU; started by peers.ts, prints one JSON line as peer_child.ts does.

The first argument is a folder with model.json (layers, batch, input, options), weights.bin (f32, one parameter after the
other), inputs.bin (f32) and targets.bin (i32) of all batches.
"""

import json
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn

folder = pathlib.Path(sys.argv[1])
spec = json.loads((folder / "model.json").read_text())
torch.set_num_threads(spec["threads"])


def layer_of(layer):
    kind = layer["kind"]
    if kind == "conv":
        return nn.Conv2d(layer["from"], layer["to"], layer["size"], padding=layer["padding"])
    if kind == "norm":
        return nn.BatchNorm2d(layer["channels"], **spec["norm"])
    if kind == "linear":
        return nn.Linear(layer["from"], layer["to"])
    return {"pool": lambda: nn.MaxPool2d(2), "relu": nn.ReLU, "flatten": nn.Flatten}[kind]()


model = nn.Sequential(*[layer_of(layer) for layer in spec["layers"]])
values = torch.from_numpy(np.fromfile(folder / "weights.bin", dtype=np.float32))
at = 0
with torch.no_grad():
    for parameter in model.parameters():
        parameter.copy_(values[at : at + parameter.numel()].view_as(parameter))
        at += parameter.numel()
assert at == values.numel(), "the weights are not those of the model"

batch = spec["batch"]
inputs = torch.from_numpy(np.fromfile(folder / "inputs.bin", dtype=np.float32))
inputs = inputs.view(-1, batch, *spec["input"])
targets = torch.from_numpy(np.fromfile(folder / "targets.bin", dtype=np.int32)).long().view(-1, batch)
adam = spec["adam"]
optimizer = torch.optim.Adam(model.parameters(), lr=adam["lr"], betas=tuple(adam["betas"]), eps=adam["eps"])
loss_of = nn.CrossEntropyLoss()
count = 0


def step():
    global count
    i = count % len(inputs)
    count += 1
    loss = loss_of(model(inputs[i]), targets[i])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def timed(run):
    start = time.perf_counter()
    result = run()
    return (time.perf_counter() - start) * 1000, result


def several():
    for _ in range(spec["stepsPerRead"]):
        last = step()
    return last.item()


first, loss = timed(lambda: step().item())
losses = [loss] + [step().item() for _ in range(spec["checkedSteps"] - 1)]
warm = time.perf_counter() + spec["warmUpSeconds"]
several()
while time.perf_counter() < warm:
    several()
repeats = sorted(timed(several)[0] / spec["stepsPerRead"] for _ in range(spec["repeats"]))
counts = {"dispatches": 0, "submits": 0, "bindGroups": 0, "buffers": 0, "pipelines": 0, "writes": 0}
report = {
    "model": spec["name"],
    "library": f"PyTorch {torch.__version__.split('+')[0]}",
    "adapter": f"CPU, {torch.get_num_threads()} threads",
    "msPerStep": float(np.median(repeats)),
    "repeats": repeats,
    "firstStepMs": first,
    "losses": losses,
    "counts": counts,
}
print(json.dumps(report))
