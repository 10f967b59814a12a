"""model_files.json: a small trained network in files of PyTorch and NumPy, with what it computes.

Bytes are base64. The safetensors files are written here by the format's description, as Debian has no
safetensors for Python.
"""

import base64
import io
import json
import struct

import numpy as np
import torch

from common import FOLDER

NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16",
         torch.bfloat16: "BF16", torch.int64: "I64"}


def safetensors(tensors, metadata=None):
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, tensor in tensors.items():
        raw = bytes(tensor.contiguous().flatten().view(torch.uint8).numpy()) if tensor.dim() else \
            bytes(tensor.reshape(1).view(torch.uint8).numpy())
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + data


def network():
    torch.manual_seed(5)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(32, 3),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(5):
        inputs = torch.randn(8, 1, 6, 6)
        targets = torch.randint(0, 3, (8,))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return model.eval()


def text(data):
    return base64.b64encode(data).decode()


def generate():
    model = network()
    state = model.state_dict()
    floats = {k: v for k, v in state.items() if v.is_floating_point()}
    as_type = lambda dtype: {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    npz, saved = io.BytesIO(), io.BytesIO()
    np.savez(npz, **{k: v.numpy() for k, v in state.items()})
    torch.save(state, saved)
    inputs = torch.round(torch.randn(2, 1, 6, 6) * 100) / 100
    outputs = model.double()(inputs.double())
    result = {
        "files": {
            "f32": text(safetensors(state, {"format": "pt"})),
            "f64": text(safetensors(as_type(torch.float64))),
            "f16": text(safetensors(as_type(torch.float16))),
            "bf16": text(safetensors(as_type(torch.bfloat16))),
            "parallel": text(safetensors({f"module.{k}": v for k, v in state.items()})),
            "npz": text(npz.getvalue()),
            "torch.save": text(saved.getvalue()),
        },
        "shapes": {k: list(v.shape) for k, v in floats.items()},
        "inputs": [round(v, 2) for v in inputs.flatten().tolist()],
        "outputs": outputs.tolist(),
    }
    with open(f"{FOLDER}/model_files.json", "w") as file:
        file.write(json.dumps(result, indent=1) + "\n")
