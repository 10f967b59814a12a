"""Deterministic inputs, exact JSON encoding, and the forward/backward recorder.

Inputs are short decimals rounded to float32, drawn from a generator seeded by the case's name, so
that a case does not change when another one is added. PyTorch computes on them in float64, which
keeps its own rounding out of the vectors.
"""

import json
import math
import random
import re
import zlib

import numpy
import torch

FOLDER = __file__.rsplit("/", 2)[0]


class Source:
    """Numbers that depend on nothing but the name of the case."""

    def __init__(self, name):
        self.random = random.Random(zlib.crc32(name.encode()))

    def _fill(self, shape, draw, dtype):
        count = math.prod(shape)
        return torch.tensor([draw() for _ in range(count)], dtype=dtype).reshape(shape)

    def uniform(self, *shape, low=-2.0, high=2.0, digits=3):
        """Float32 values of few decimal digits in [low, high]."""
        draw = lambda: round(self.random.uniform(low, high), digits)
        return self._fill(shape, draw, torch.float32)

    def distinct(self, *shape, step=0.125):
        """Float32 values that are all different: no ties for max, sort or pooling."""
        count = math.prod(shape)
        values = [(i - count // 2) * step for i in range(count)]
        self.random.shuffle(values)
        return torch.tensor(values, dtype=torch.float32).reshape(shape)

    def integers(self, *shape, below):
        """Integer values in [0, below)."""
        return self._fill(shape, lambda: self.random.randrange(below), torch.int64)

    def flags(self, *shape):
        """Booleans, true about half of the time."""
        return self._fill(shape, lambda: self.random.random() < 0.5, torch.bool)


def number(value, single):
    """A Python number whose JSON text is the shortest one that carries the value."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    # float32 inputs: the shortest text that rounds back to them; results: 9 significant digits.
    short = float(str(numpy.float32(value))) if single else float(f"{value:.9g}")
    whole = short == int(short) and abs(short) < 2**31
    negative_zero = short == 0 and math.copysign(1, short) < 0
    return int(short) if whole and not negative_zero else short


def encode(tensor):
    """{"shape", "dtype", "data"} of a tensor; 64-bit integers are written as i32."""
    tensor = tensor.detach().cpu()
    shape = list(tensor.shape)
    flat = tensor.reshape(-1).tolist()
    if tensor.dtype == torch.bool:
        return {"shape": shape, "dtype": "bool", "data": [int(v) for v in flat]}
    if tensor.dtype in (torch.int32, torch.int64):
        return {"shape": shape, "dtype": "i32", "data": flat}
    single = tensor.dtype == torch.float32
    return {"shape": shape, "dtype": "f32", "data": [number(v, single) for v in flat]}


def encode_all(tensors):
    """encode() of every value of a dictionary."""
    return {key: encode(value) for key, value in tensors.items()}


def snake(options):
    """PyTorch's spelling of camelCase option names."""
    spell = lambda key: re.sub("[A-Z]", lambda match: "_" + match[0].lower(), key)
    return {spell(key): value for key, value in options.items()}


def leaf(tensor, grad=True):
    """A float64 copy that collects a gradient; integers and booleans pass through."""
    if not tensor.is_floating_point():
        return tensor
    return tensor.double().clone().requires_grad_(grad)


def record(source, leaves, outputs, cotangents=None):
    """Cotangents, outputs and the gradients of (output * cotangent).sum() for every leaf."""
    roots = {k: v for k, v in outputs.items() if v.requires_grad}
    if cotangents is None:
        cotangents = {k: source.uniform(*v.shape, low=-1.0, high=1.0) for k, v in roots.items()}
    if roots:
        sum((roots[k] * cotangents[k].double()).sum() for k in roots).backward()
    grads = {k: v.grad for k, v in leaves.items() if v.requires_grad and v.grad is not None}
    return {
        "cotangents": encode_all(cotangents),
        "outputs": encode_all(outputs),
        "grads": encode_all(grads),
    }


def op_case(name, op, run, inputs, options=None, fixed=()):
    """One tensor op: `run(*inputs)` gives a tensor or a dictionary of them.

    Float inputs get gradients unless `fixed` names them; `inputs` keeps the order of arguments and
    may be a function of the case's Source. `fixed=True` records the forward pass alone.
    """
    name = f"{op}: {name}"
    source = Source(name)
    inputs = inputs(source) if callable(inputs) else inputs
    with_grad = lambda key: fixed is not True and key not in fixed
    leaves = {key: leaf(value, with_grad(key)) for key, value in inputs.items()}
    outputs = run(*leaves.values())
    outputs = outputs if isinstance(outputs, dict) else {"output": outputs}
    case = {"name": name, "op": op, "options": options or {}, "inputs": encode_all(inputs)}
    return {**case, **record(source, leaves, outputs)}


def draw(**inputs):
    """Inputs of an op_case: tensors as they are, functions called with the case's Source."""
    return lambda source: {k: v(source) if callable(v) else v for k, v in inputs.items()}


def of(*shape, **bounds):
    """Uniform float32 values of this shape."""
    return lambda source: source.uniform(*shape, **bounds)


def distinct(*shape):
    """Float32 values of this shape without ties."""
    return lambda source: source.distinct(*shape)


def few(*shape):
    """Float32 values of this shape among 0, 1 and 2: full of ties."""
    return lambda source: source.integers(*shape, below=3).float()


def write(file, sections, **header):
    """Writes {"torch", ...header, section: [...]} compactly, one case per line."""
    about = {"torch": torch.__version__, "generator": "python3 tests/golden/generate", **header}
    parts = [f"{json.dumps(key)}:{json.dumps(value)}" for key, value in about.items()]
    for key, cases in sections.items():
        names = [case["name"] for case in cases]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"{file}: two cases with one name: {sorted(twice)}")
        lines = [json.dumps(case, separators=(",", ":"), allow_nan=False) for case in cases]
        parts.append(f"{json.dumps(key)}:[\n" + ",\n".join(lines) + "\n]")
    text = "{" + ",\n".join(parts) + "}\n"
    with open(f"{FOLDER}/{file}", "w", encoding="utf-8") as out:
        out.write(text)
    print(f"{file}: {sum(map(len, sections.values()))} cases, {len(text)} bytes")
