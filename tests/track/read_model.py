"""Reads a model file without our code, and prints what PyTorch computes with it, as JSON.

    python3 read_model.py FILE.safetensors|FILE.npz    # inputs come as JSON on standard input
"""

import json
import struct
import sys

import numpy as np
import torch

TYPES = {"F32": torch.float32, "F16": torch.float16, "I32": torch.int32}


def safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = bytearray(data[8 + length + begin:8 + length + end])
        tensors[name] = torch.frombuffer(raw, dtype=TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def npz(path):
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


path = sys.argv[1]
model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(),
    torch.nn.Flatten(), torch.nn.Linear(32, 3),
)
model.load_state_dict(npz(path) if path.endswith(".npz") else safetensors(path), strict=True)
inputs = torch.tensor(json.load(sys.stdin), dtype=torch.float64).reshape(2, 1, 6, 6)
print(json.dumps(model.double().eval()(inputs).tolist()))
