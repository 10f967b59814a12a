"""init.json: how PyTorch starts every layer, and what its initialisers draw from.

Nothing is sampled: the bounds and standard deviations are those with which PyTorch calls the
generator, caught at the call. The moments of the truncated normal are its closed form.
"""

import json
import math

import torch
from torch import nn

from common import snake, write

calls = {}


def caught(kind, first, second):
    """A stand-in for tensor.uniform_ or tensor.normal_ that notes its arguments and fills zeros."""

    def fill(tensor, x=0.0, y=1.0, **named):
        x, y = named.get(first, x), named.get(second, y)
        calls[id(tensor)] = {"kind": kind, first: float(x), second: float(y)}
        return tensor.zero_()

    return fill


def describe(tensor):
    """The distribution of a tensor, or its constant."""
    if id(tensor) in calls:
        return calls[id(tensor)]
    values = set(tensor.detach().reshape(-1).tolist())
    if len(values) != 1:
        raise ValueError(f"neither drawn nor constant: {sorted(values)[:4]}")
    return {"kind": "constant", "value": values.pop()}


def layer_case(layer, args, options):
    calls.clear()
    module = getattr(nn, layer)(*args, **snake(options))
    text = ", ".join([*map(str, args), *(f"{k} {json.dumps(v)}" for k, v in options.items())])
    entries = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        "name": f"{layer}({text})",
        "layer": layer,
        "args": args,
        "options": options,
        "entries": {k: {"shape": list(v.shape), **describe(v)} for k, v in entries.items()},
    }


def initializer_case(function, shape, options):
    calls.clear()
    tensor = torch.empty(shape)
    name = "".join("_" + c.lower() if c.isupper() else c for c in function) + "_"
    getattr(nn.init, name)(tensor, **snake(options))
    text = ", ".join(f"{k} {v}" for k, v in options.items()) or "default"
    return {
        "name": f"{function} of {shape}, {text}",
        "initializer": function,
        "shape": shape,
        "options": options,
        "draws": calls[id(tensor)],
    }


def truncated(mean, std, low, high):
    """Mean and standard deviation of a normal distribution cut to [low, high]."""
    a, b = (low - mean) / std, (high - mean) / std
    density = lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    mass = (math.erf(b / math.sqrt(2)) - math.erf(a / math.sqrt(2))) / 2
    shift = (density(a) - density(b)) / mass
    variance = 1 + (a * density(a) - b * density(b)) / mass - shift * shift
    return {
        "name": f"truncNormal mean {mean}, std {std} in [{low}, {high}]",
        "options": {"mean": mean, "std": std, "a": low, "b": high},
        "mean": mean + std * shift,
        "std": std * math.sqrt(variance),
    }


def layer_cases():
    k = "kernelSize"
    return [
        layer_case("Linear", [64, 32], {}),
        layer_case("Linear", [1152, 128], {}),
        layer_case("Linear", [7, 5], {"bias": False}),
        layer_case("Conv2d", [1, 32], {k: 3}),
        layer_case("Conv2d", [16, 8], {k: [3, 5]}),
        layer_case("Conv2d", [8, 16], {k: 3, "groups": 4}),
        layer_case("Conv2d", [6, 6], {k: 5, "groups": 6}),
        layer_case("Conv2d", [4, 4], {k: 1, "bias": False}),
        layer_case("ConvTranspose2d", [16, 8], {k: 3}),
        layer_case("ConvTranspose2d", [8, 12], {k: 2, "groups": 4}),
        layer_case("Embedding", [50, 16], {}),
        layer_case("BatchNorm1d", [6], {}),
        layer_case("BatchNorm2d", [6], {}),
        layer_case("LayerNorm", [[3, 4]], {}),
        layer_case("GroupNorm", [2, 6], {}),
        layer_case("PReLU", [3], {}),
        layer_case("PReLU", [], {"init": 0.1}),
    ]


def initializer_cases():
    matrix, kernel = [30, 20], [16, 8, 3, 3]
    fan_out, root5 = {"mode": "fan_out"}, math.sqrt(5)
    cases = []
    for shape in (matrix, kernel):
        for kind in ("Uniform", "Normal"):
            cases += [
                initializer_case(f"kaiming{kind}", shape, {}),
                initializer_case(f"kaiming{kind}", shape, {**fan_out, "nonlinearity": "relu"}),
                initializer_case(f"kaiming{kind}", shape, {"a": root5}),
                initializer_case(f"kaiming{kind}", shape, {"nonlinearity": "tanh"}),
                initializer_case(f"xavier{kind}", shape, {}),
                initializer_case(f"xavier{kind}", shape, {"gain": 2.0}),
            ]
    return cases


def gain_cases():
    names = ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]
    gain = nn.init.calculate_gain
    cases = [{"name": n, "param": None, "gain": gain(n)} for n in names]
    return cases + [
        {"name": f"leaky_relu {p}", "param": p, "gain": gain("leaky_relu", p)} for p in (0.0, 0.2)
    ]


def generate():
    kept = torch.Tensor.uniform_, torch.Tensor.normal_
    torch.Tensor.uniform_ = caught("uniform", "from", "to")
    torch.Tensor.normal_ = caught("normal", "mean", "std")
    try:
        layers, initializers = layer_cases(), initializer_cases()
    finally:
        torch.Tensor.uniform_, torch.Tensor.normal_ = kept
    moments = [truncated(0.0, 1.0, -2.0, 2.0), truncated(0.0, 0.02, -2.0, 2.0),
               truncated(0.5, 1.0, -1.0, 1.0), truncated(0.0, 1.0, 0.5, 3.0)]
    write("init.json", {"layers": layers, "initializers": initializers,
                        "truncNormal": moments, "gains": gain_cases()})
