"""tinycnn.json: ten Adam steps of the 241,994-parameter TinyCNN, in float32 and in float64.

Nothing that the run starts from is stored: parameters, images and labels follow from the formulas
in the header, which IEEE double arithmetic evaluates to the same bits everywhere.
"""

import math
import zlib

import numpy
import torch
from torch import nn
from torch.nn import functional as F

from common import encode, number, write

PHI, PSI = 0.6180339887498949, 0.7548776662466927
BATCH, STEPS, PIXELS = 8, 10, 784

FORMULA = {
    "order": "k counts named_parameters(), i counts entries in row-major order; all in float64,"
             " left to right as written, then rounded to float32; frac(x) = x - floor(x)",
    "weight": "(frac(i * 0.6180339887498949 + k * 0.7548776662466927) * 2 - 1) / sqrt(fanIn)"
              " for the weights and biases of Conv2d and Linear; BatchNorm: weight 1, bias 0",
    "image": "frac((n * n) * 0.6180339887498949 + n * 0.7548776662466927),"
             " n = ((step % 2) * 8 + row) * 784 + pixel, step from 0: two batches in turn",
    "label": "((step % 2) * 3 + row * 7) % 10",
}


def block(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def build():
    head = nn.Sequential(nn.Linear(1152, 128), nn.ReLU(), nn.Linear(128, 10))
    return nn.Sequential(block(1, 32), block(32, 64), block(64, 128), nn.Flatten(), head)


def frac(x):
    return x - numpy.floor(x)


def start_values(k, count, fan_in):
    """Parameter k, by the formula of the header."""
    i = numpy.arange(count, dtype=numpy.float64)
    return ((frac(i * PHI + k * PSI) * 2 - 1) / math.sqrt(fan_in)).astype(numpy.float32)


def images(step):
    """The batch of a step, by the formula of the header."""
    n = (step % 2) * BATCH * PIXELS + numpy.arange(BATCH * PIXELS, dtype=numpy.float64)
    values = frac((n * n) * PHI + n * PSI).astype(numpy.float32)
    return torch.from_numpy(values.reshape(BATCH, 1, 28, 28))


def labels(step):
    return torch.tensor([((step % 2) * 3 + row * 7) % 10 for row in range(BATCH)])


def start(model):
    """Writes the formula's parameters into the model; returns what lets a reader check his own."""
    fans = {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fans[f"{name}.weight"] = fans[f"{name}.bias"] = module.weight[0].numel()
    checks = []
    for k, (name, parameter) in enumerate(model.named_parameters()):
        count = parameter.numel()
        if name in fans:
            values = start_values(k, count, fans[name])
        else:
            values = numpy.full(count, 1 if name.endswith("weight") else 0, dtype=numpy.float32)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values.reshape(parameter.shape)))
        checks.append({
            "name": name,
            "shape": list(parameter.shape),
            "fanIn": fans.get(name),
            "crc32": zlib.crc32(values.astype("<f4").tobytes()),
        })
    return checks


def norm(tensor):
    return number(tensor.detach().double().norm().item(), False)


def picks(tensor):
    """Up to five entries, spread evenly, by flat index."""
    flat = tensor.detach().double().reshape(-1)
    last = flat.numel() - 1
    index = sorted({round(last * j / 4) for j in range(5)})
    return {"index": index, "data": [number(flat[i].item(), False) for i in index]}


def train(dtype):
    """The run in one precision: what the first step gives, and what ten steps leave."""
    model = build()
    checks = start(model)
    model.to(dtype).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses, first = [], {}
    for step in range(STEPS):
        logits = model(images(step).to(dtype))
        loss = F.cross_entropy(logits, labels(step))
        optimizer.zero_grad()
        loss.backward()
        losses.append(number(loss.item(), False))
        if step == 0:
            first = {
                "logits": encode(logits.double()),
                "gradNorms": {k: norm(p.grad) for k, p in model.named_parameters()},
                "grads": {k: picks(p.grad) for k, p in model.named_parameters()},
            }
        optimizer.step()
    final = {k: {"norm": norm(v), **picks(v)} for k, v in model.state_dict().items()}
    model.eval()
    with torch.no_grad():
        evaluated = encode(model(images(0).to(dtype)).double())
    return checks, {"losses": losses, **first, "final": final, "evalLogits": evaluated}


def generate():
    torch.manual_seed(0)
    checks, single = train(torch.float32)
    _, double = train(torch.float64)
    shapes = [{"name": k, "shape": list(v.shape)} for k, v in build().state_dict().items()]
    crc = lambda tensor: zlib.crc32(tensor.numpy().astype("<f4").tobytes())
    # Under a BatchNorm a convolution's bias has no effect: its gradient is rounding noise, which
    # Adam turns into steps of full size, and running_mean follows them.
    noise = ["0.0.bias", "1.0.bias", "2.0.bias"]
    followers = ["0.1.running_mean", "1.1.running_mean", "2.1.running_mean"]
    write(
        "tinycnn.json",
        {"parameters": checks, "state": shapes,
         "runs": [{"name": "float32", **single}, {"name": "float64", **double}]},
        formula=FORMULA,
        settings={"batch": BATCH, "steps": STEPS, "optimizer": "Adam", "lr": 1e-3,
                  "loss": "crossEntropy, mean"},
        count=sum(math.prod(check["shape"]) for check in checks),
        imagesCrc32=[crc(images(step)) for step in range(STEPS)],
        labels=[labels(step).tolist() for step in range(STEPS)],
        noise=noise,
        followNoise=followers,
    )
