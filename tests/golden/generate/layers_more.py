"""layers_more.json: further layers, InstanceNorm over several steps, and recurrent layers.

Layers that PyTorch 1.13 lacks are written out in it: by their definition, not as ours compute them.
"""

import torch
from torch import nn
from torch.nn import functional as F

import layers
from common import Source, distinct, encode, encode_all, leaf, of, record, snake, write


class LayerNorm2d(nn.Module):
    """Channel norm of ConvNeXt: LayerNorm over the last axis of [N, H, W, C]."""

    def __init__(self, channels, eps=1e-6, affine=True):
        super().__init__()
        self.shape, self.eps = [channels], eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x):
        y = F.layer_norm(x.permute(0, 2, 3, 1), self.shape, self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)


class GRN(nn.Module):
    """Woo et al., 2023, in the order of axes of images."""

    def __init__(self, channels, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x):
        gx = torch.norm(x, p=2, dim=(2, 3), keepdim=True)
        nx = gx / (gx.mean(dim=1, keepdim=True) + self.eps)
        return self.gamma * (x * nx) + self.beta + x


class RMSNorm(nn.Module):
    """torch.nn.RMSNorm of PyTorch 2.4, whose default eps is that of float32 here."""

    def __init__(self, shape, eps=2.0**-23, elementwise_affine=True):
        super().__init__()
        self.shape, self.eps = shape, eps
        self.weight = nn.Parameter(torch.ones(shape)) if elementwise_affine else None

    def forward(self, x):
        dims = tuple(range(-len(self.shape), 0))
        y = x / torch.sqrt((x**2).mean(dims, keepdim=True) + self.eps)
        return y if self.weight is None else y * self.weight


class LayerScale(nn.Module):
    def __init__(self, channels, dims=4):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones([1, channels] + [1] * (dims - 2)))

    def forward(self, x):
        return x * self.gamma


class ChannelShuffle(nn.Module):
    """The permutation of nn.ChannelShuffle, which has no gradient in PyTorch 1.13."""

    def __init__(self, groups):
        super().__init__()
        self.shuffle = nn.ChannelShuffle(groups)

    def forward(self, x):
        numbers = torch.arange(x.shape[1], dtype=torch.float32)[None, :, None, None]
        return x[:, self.shuffle(numbers).flatten().long()]


class SwiGLU(nn.Module):
    def forward(self, x):
        a, b = x.chunk(2, -1)
        return F.silu(a) * b


class GlobalAvgPool2d(nn.Module):
    def __init__(self, keep_dim=False):
        super().__init__()
        self.keep_dim = keep_dim

    def forward(self, x):
        y = F.adaptive_avg_pool2d(x, 1)
        return y if self.keep_dim else y.flatten(1)


def named(*modules):
    """LegoML's block: a convolution and an activation by name."""
    block = nn.Sequential()
    for name, module in zip(("conv", "act"), modules):
        block.add_module(name, module)
    return block


class SpatialAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = named(nn.Conv2d(2, 1, 3, padding=1, bias=False), nn.Sigmoid())

    def forward(self, x):
        pooled = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True).values], 1)
        return x * self.block(pooled)


class SEAttention(nn.Module):
    def __init__(self, channels, mid_channels=8, bias=False):
        super().__init__()
        self.block1 = named(nn.Conv2d(channels, mid_channels, 1, bias=bias), nn.ReLU())
        self.block2 = named(nn.Conv2d(mid_channels, channels, 1, bias=bias), nn.Sigmoid())

    def forward(self, x):
        return x * self.block2(self.block1(F.adaptive_avg_pool2d(x, 1)))


OWN = {c.__name__: c for c in (LayerNorm2d, GRN, RMSNorm, LayerScale, ChannelShuffle,
                               SwiGLU, GlobalAvgPool2d, SpatialAttention,
                               SEAttention)}
OWN["SpaceToDepth"] = nn.PixelUnshuffle


def build(source, layer, args, options):
    module = OWN.get(layer) or getattr(nn, layer)
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in snake(options).items()}
    settings = {("lambd" if k == "lambda" else k): v for k, v in settings.items()}
    module = module(*args, **settings).double()
    state = layers.draw_state(source, module)
    module.load_state_dict(state)
    return module, state


def layer_case(name, layer, args, options, value):
    name = f"{layer}: {name}"
    source = Source(name)
    module, state = build(source, layer, args, options)
    value = value(source) if callable(value) else value
    leaves = {"input": leaf(value)}
    outputs = {"output": module(leaves["input"])}
    leaves.update(module.named_parameters())
    return {
        "name": name, "layer": layer, "args": args, "options": options,
        "inputs": {"input": encode(value)}, "params": encode_all(state),
        **record(source, leaves, outputs),
    }


def conv_cases():
    k = "kernelSize"
    plain = [
        ("plain", [2, 3], {k: 3}, of(2, 2, 6)),
        ("everything", [4, 6],
         {k: 3, "stride": 2, "padding": 2, "dilation": 2, "groups": 2}, of(2, 4, 9)),
        ("depthwise, no bias", [3, 3], {k: 4, "groups": 3, "padding": 1, "bias": False},
         of(1, 3, 7)),
    ]
    transposed = [
        ("plain", [3, 2], {k: 3}, of(2, 3, 4)),
        ("everything", [4, 6],
         {k: 3, "stride": 3, "padding": 1, "outputPadding": 2, "dilation": 2, "groups": 2},
         of(2, 4, 5)),
    ]
    return [layer_case(n, "Conv1d", *rest) for n, *rest in plain] + [
        layer_case(n, "ConvTranspose1d", *rest) for n, *rest in transposed
    ]


def norm_cases():
    return [
        layer_case("images", "LayerNorm2d", [5], {}, of(2, 5, 3, 4)),
        layer_case("eps 0.1, no affine", "LayerNorm2d", [3], {"eps": 0.1, "affine": False},
                   of(2, 3, 2, 2)),
        layer_case("images", "GRN", [4], {}, of(2, 4, 3, 2)),
        layer_case("an empty channel, eps 0.5", "GRN", [3], {"eps": 0.5},
                   lambda s: s.uniform(2, 3, 2, 2) * torch.tensor([1.0, 0.0, 1.0])[:, None, None]),
        layer_case("one dim", "RMSNorm", [[5]], {}, of(2, 3, 5)),
        layer_case("two dims, eps 0.1", "RMSNorm", [[3, 4]], {"eps": 0.1}, of(2, 3, 4)),
        layer_case("no affine", "RMSNorm", [[6]], {"elementwiseAffine": False}, of(3, 6)),
        layer_case("images", "InstanceNorm2d", [3], {}, of(2, 3, 3, 2)),
        layer_case("affine", "InstanceNorm2d", [3], {"affine": True, "eps": 0.01}, of(2, 3, 2, 3)),
        layer_case("without batch", "InstanceNorm2d", [2], {"affine": True}, of(2, 3, 3)),
        layer_case("sequences", "InstanceNorm1d", [3], {"affine": True}, of(2, 3, 5)),
        layer_case("images", "LayerScale", [3], {}, of(2, 3, 2, 2)),
        layer_case("sequences", "LayerScale", [4], {"dims": 3}, of(2, 4, 3)),
    ]


def movement_cases():
    resize = [
        ("nearest, factor 2", {"scaleFactor": 2}),
        ("nearest, factors", {"scaleFactor": [3, 1.5]}),
        ("nearest, size", {"size": [5, 3]}),
        ("nearest-exact, size", {"size": [7, 3], "mode": "nearest-exact"}),
        ("bilinear, factor 2", {"scaleFactor": 2, "mode": "bilinear"}),
        ("bilinear, factor 1.7", {"scaleFactor": 1.7, "mode": "bilinear"}),
        ("bilinear, smaller", {"size": [2, 3], "mode": "bilinear"}),
        ("bilinear, to one pixel", {"size": 1, "mode": "bilinear"}),
        ("bilinear, aligned", {"size": [7, 4], "mode": "bilinear", "alignCorners": True}),
        ("bilinear, aligned, to one row", {"size": [1, 9], "mode": "bilinear",
                                           "alignCorners": True}),
    ]
    return [layer_case(name, "Upsample", [], options, of(1, 2, 4, 5)) for name, options in resize] + [
        layer_case("bilinear, from one pixel", "Upsample", [],
                   {"size": [3, 2], "mode": "bilinear"}, of(1, 4, 1, 1)),
        layer_case("bilinear, four channels", "Upsample", [],
                   {"scaleFactor": 2, "mode": "bilinear"}, of(2, 4, 3, 2)),
        layer_case("factor 2", "PixelShuffle", [2], {}, of(2, 8, 2, 3)),
        layer_case("factor 2", "PixelUnshuffle", [2], {}, of(2, 3, 4, 6)),
        layer_case("factor 3", "SpaceToDepth", [3], {}, of(1, 2, 3, 6)),
        layer_case("images", "ChannelShuffle", [2], {}, of(2, 6, 2, 2)),
        layer_case("three groups", "ChannelShuffle", [3], {}, of(1, 12, 1, 2)),
        layer_case("all sides", "ZeroPad2d", [2], {}, of(1, 2, 2, 3)),
        layer_case("each side", "ZeroPad2d", [[1, 0, 2, 3]], {}, of(2, 1, 2, 2)),
        layer_case("all sides", "ReflectionPad2d", [2], {}, of(1, 2, 3, 4)),
        layer_case("each side", "ReflectionPad2d", [[3, 1, 0, 2]], {}, of(2, 2, 3, 4)),
        layer_case("without batch", "ReflectionPad2d", [[1, 1, 1, 1]], {}, of(2, 3, 2)),
    ]


def pool_cases():
    k = "kernelSize"
    return [
        layer_case("flat", "GlobalAvgPool2d", [], {}, of(2, 3, 4, 5)),
        layer_case("kept", "GlobalAvgPool2d", [], {"keepDim": True}, of(2, 3, 2, 2)),
        layer_case("to 1 by 1", "AdaptiveMaxPool2d", [1], {}, distinct(2, 2, 3, 4)),
        layer_case("even division", "AdaptiveMaxPool2d", [[2, 3]], {}, distinct(1, 2, 4, 6)),
        layer_case("uneven division", "AdaptiveMaxPool2d", [[3, 2]], {}, distinct(1, 2, 5, 7)),
        layer_case("larger than the input", "AdaptiveMaxPool2d", [[3, 4]], {},
                   distinct(1, 1, 2, 3)),
        layer_case("ties", "AdaptiveMaxPool2d", [[2, 2]], {},
                   lambda s: s.integers(1, 2, 5, 5, below=3).float()),
        layer_case("padding, dilation", "MaxPool1d", [],
                   {k: 3, "stride": 2, "padding": 1, "dilation": 2}, distinct(2, 2, 9)),
        layer_case("ceilMode", "MaxPool1d", [], {k: 2, "ceilMode": True}, distinct(1, 2, 5)),
        layer_case("padding not counted", "AvgPool1d", [],
                   {k: 3, "stride": 2, "padding": 1, "countIncludePad": False}, of(2, 2, 7)),
        layer_case("ceilMode", "AvgPool1d", [], {k: 2, "ceilMode": True}, of(1, 2, 5)),
    ]


def activation_cases():
    wide = of(3, 8, low=-4.0, high=4.0)
    return [
        layer_case("last dim", "GLU", [], {}, wide),
        layer_case("dim 1", "GLU", [], {"dim": 1}, of(2, 4, 3)),
        layer_case("last dim", "SwiGLU", [], {}, wide),
        layer_case("default", "Hardshrink", [], {}, wide),
        layer_case("lambda 1", "Hardshrink", [], {"lambda": 1.0}, torch.tensor([-1.0, 0, 1, 2])),
        layer_case("default", "Softshrink", [], {}, wide),
        layer_case("lambda 1", "Softshrink", [], {"lambda": 1.0}, torch.tensor([-1.0, 0, 1, 2])),
        layer_case("default", "Threshold", [], {"threshold": 0.5, "value": -2.0}, wide),
        layer_case("images", "Softmax2d", [], {}, of(2, 3, 2, 2)),
        layer_case("dim 1", "Softmin", [], {"dim": 1}, of(4, 3)),
        layer_case("images", "SpatialAttention", [], {}, distinct(2, 3, 4, 3)),
        layer_case("8 between", "SEAttention", [6], {}, of(2, 6, 3, 3)),
        layer_case("5 between, bias", "SEAttention", [4], {"midChannels": 5, "bias": True},
                   of(2, 4, 2, 3)),
    ]


def recurrent_case(name, layer, args, options, shape, start=False, cell=False):
    """A recurrent layer, or one step of it; `start` gives it a state to begin with."""
    name = f"{layer}: {name}"
    source = Source(name)
    module, state = build(source, layer, args, options)
    inputs = {"input": source.uniform(*shape)}
    hidden = args[1]
    if start:
        if cell:
            size = [*shape[:-1], hidden]
        else:
            first = options.get("numLayers", 1) * (2 if options.get("bidirectional") else 1)
            batch = [shape[0 if options.get("batchFirst") else 1]] if len(shape) == 3 else []
            size = [first, *batch, hidden]
        for key in ("h0", "c0") if layer.startswith("LSTM") else ("h0",):
            inputs[key] = source.uniform(*size, low=-1.0, high=1.0)
    leaves = {key: leaf(value) for key, value in inputs.items()}
    given = [leaves[key] for key in ("h0", "c0") if key in leaves]
    given = [] if not given else [tuple(given)] if len(given) == 2 else given
    result = module(leaves["input"], *given)
    if cell:
        outputs = {"hN": result} if torch.is_tensor(result) else dict(zip(("hN", "cN"), result))
    else:
        last = result[1] if isinstance(result[1], tuple) else (result[1],)
        outputs = {"output": result[0], **dict(zip(("hN", "cN"), last))}
    leaves.update(module.named_parameters())
    return {
        "name": name, "layer": layer, "args": args, "options": options,
        "inputs": encode_all(inputs), "params": encode_all(state),
        **record(source, leaves, outputs),
    }


def recurrent_cases():
    deep = {"numLayers": 2, "bidirectional": True}
    cases = []
    for layer in ("RNN", "GRU", "LSTM"):
        cases += [
            recurrent_case("one layer", layer, [3, 4], {}, (5, 2, 3)),
            recurrent_case("two layers, both directions, start", layer, [3, 2], deep, (4, 2, 3),
                           start=True),
            recurrent_case("batch first, no bias, start", layer, [2, 3],
                           {"batchFirst": True, "bias": False}, (3, 4, 2), start=True),
            recurrent_case("without batch, start", layer, [2, 3], {}, (4, 2), start=True),
            recurrent_case("one step, both directions", layer, [2, 3], {"bidirectional": True},
                           (1, 2, 2)),
            recurrent_case("start", f"{layer}Cell", [3, 4], {}, (2, 3), start=True, cell=True),
            recurrent_case("zeros, no bias, no batch", f"{layer}Cell", [3, 2], {"bias": False},
                           (3,), cell=True),
        ]
    relu = {"nonlinearity": "relu"}
    return cases + [
        recurrent_case("relu", "RNN", [3, 4], {**relu, **deep}, (4, 2, 3), start=True),
        recurrent_case("relu", "RNNCell", [3, 4], relu, (2, 3), start=True, cell=True),
    ]


def instance_norm_cases():
    options = {"trackRunningStats": True}
    return [
        layers.batch_norm_case("images", "InstanceNorm2d", options, (2, 3, 2, 3),
                               ["train", "train", "eval"]),
        layers.batch_norm_case("affine, momentum 0.3", "InstanceNorm1d",
                               {**options, "affine": True, "momentum": 0.3}, (3, 2, 4),
                               ["eval", "train", "eval"]),
    ]


def generate():
    cases = conv_cases() + norm_cases() + movement_cases() + pool_cases() + activation_cases()
    write("layers_more.json", {
        "cases": cases,
        "recurrent": recurrent_cases(),
        "instanceNorm": instance_norm_cases(),
    })
