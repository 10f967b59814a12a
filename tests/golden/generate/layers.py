"""layers.json: every layer's forward pass and gradients, and BatchNorm over several steps."""


import torch
from torch import nn

from common import Source, distinct, encode, encode_all, few, leaf, of, record, snake, write


def draw_state(source, module):
    """Float32 values for every entry of the state dict: variances and norm weights positive."""
    state = {}
    for key, value in module.state_dict().items():
        if not value.is_floating_point():
            state[key] = value.clone()
        elif key == "running_var":
            state[key] = source.uniform(*value.shape, low=0.5, high=2.0)
        elif value.dim() == 1 and key == "weight":
            state[key] = source.uniform(*value.shape, low=0.5, high=1.5)
        else:
            state[key] = source.uniform(*value.shape, low=-0.8, high=0.8)
    return state


def build(source, layer, args, options):
    """The float64 module with drawn parameters, and those parameters in float32."""
    module = getattr(nn, layer)(*args, **snake(options)).double()
    state = draw_state(source, module)
    module.load_state_dict(state)
    return module, state


def layer_case(name, layer, args, options, value, training=True):
    """One forward and backward pass. `value` is a tensor, or a function of the case's Source."""
    name = f"{layer}: {name}"
    source = Source(name)
    module, state = build(source, layer, args, options)
    module.train(training)
    value = value(source) if callable(value) else value
    leaves = {"input": leaf(value)}
    outputs = {"output": module(leaves["input"])}
    leaves.update(module.named_parameters())
    return {
        "name": name,
        "layer": layer,
        "args": args,
        "options": options,
        "inputs": {"input": encode(value)},
        "params": encode_all(state),
        **record(source, leaves, outputs),
    }


def batch_norm_case(name, layer, options, shape, modes):
    """A sequence of passes through one module: "train" or "eval", with the buffers after each."""
    name = f"{layer}: {name}"
    source = Source(name)
    module, state = build(source, layer, [shape[1]], options)
    steps = []
    for mode in modes:
        module.train(mode == "train")
        module.zero_grad(set_to_none=True)
        value = source.uniform(*shape, low=-1.0, high=3.0)
        leaves = {"input": leaf(value), **dict(module.named_parameters())}
        outputs = {"output": module(leaves["input"])}
        steps.append({
            "training": mode == "train",
            "inputs": {"input": encode(value)},
            **record(source, leaves, outputs),
            "buffers": encode_all(dict(module.named_buffers())),
        })
    return {
        "name": name,
        "layer": layer,
        "args": [shape[1]],
        "options": options,
        "params": encode_all(state),
        "steps": steps,
    }


def dense_cases():
    return [
        layer_case("2-D input", "Linear", [5, 3], {}, of(4, 5)),
        layer_case("1-D input", "Linear", [5, 3], {}, of(5)),
        layer_case("3-D input", "Linear", [4, 6], {}, of(2, 3, 4)),
        layer_case("no bias", "Linear", [4, 3], {"bias": False}, of(5, 4)),
        layer_case("3-D input, no bias", "Linear", [3, 2], {"bias": False}, of(2, 2, 3)),
        layer_case("one row, one output", "Linear", [7, 1], {}, of(1, 7)),
        layer_case("2-D indices", "Embedding", [6, 3], {}, torch.tensor([[0, 5, 2], [2, 2, 1]])),
        layer_case("1-D indices", "Embedding", [4, 2], {}, torch.tensor([3, 0, 3, 1])),
        layer_case("paddingIdx", "Embedding", [5, 3], {"paddingIdx": 1},
                   torch.tensor([[1, 0, 4], [3, 1, 1]])),
        layer_case("paddingIdx 0", "Embedding", [3, 2], {"paddingIdx": 0}, torch.tensor([0, 2, 0])),
        layer_case("whole", "Flatten", [], {}, of(2, 3, 2, 2)),
        layer_case("from dim 0", "Flatten", [], {"startDim": 0}, of(2, 3, 2)),
        layer_case("middle dims", "Flatten", [], {"startDim": 1, "endDim": 2}, of(2, 3, 2, 2)),
    ]


def conv_cases():
    k = "kernelSize"
    plain = [
        ("plain", [2, 3], {k: 3}, of(2, 2, 5, 5)),
        ("kernel 1", [3, 4], {k: 1}, of(2, 3, 3, 4)),
        ("stride 2", [2, 3], {k: 3, "stride": 2}, of(1, 2, 7, 6)),
        ("padding 1", [2, 3], {k: 3, "padding": 1}, of(2, 2, 4, 5)),
        ("stride 2, padding 1", [1, 4], {k: 3, "stride": 2, "padding": 1}, of(2, 1, 6, 7)),
        ("dilation 2", [2, 2], {k: 3, "dilation": 2}, of(1, 2, 7, 6)),
        ("groups 2", [4, 6], {k: 3, "groups": 2, "padding": 1}, of(1, 4, 4, 4)),
        ("depthwise", [3, 3], {k: 3, "groups": 3, "padding": 1}, of(2, 3, 4, 4)),
        ("depthwise, multiplier 2", [2, 4], {k: 3, "groups": 2, "stride": 2}, of(1, 2, 6, 5)),
        ("no bias", [2, 3], {k: 3, "bias": False}, of(1, 2, 4, 4)),
        ("asymmetric kernel", [2, 2], {k: [2, 3]}, of(1, 2, 4, 6)),
        ("asymmetric everything", [2, 4],
         {k: [3, 2], "stride": [2, 1], "padding": [2, 1], "dilation": [1, 2], "groups": 2},
         of(1, 2, 5, 6)),
        ("even kernel, padding 2", [1, 2], {k: 4, "padding": 2, "stride": 3}, of(2, 1, 5, 5)),
        ("kernel as large as the input", [2, 3], {k: 4}, of(2, 2, 4, 4)),
    ]
    transposed = [
        ("plain", [3, 2], {k: 3}, of(2, 3, 3, 4)),
        ("stride 2", [2, 3], {k: 3, "stride": 2}, of(1, 2, 3, 4)),
        ("stride 2, padding 1", [2, 2], {k: 3, "stride": 2, "padding": 1}, of(2, 2, 3, 3)),
        ("stride 2, padding 1, outputPadding 1", [2, 3],
         {k: 3, "stride": 2, "padding": 1, "outputPadding": 1}, of(1, 2, 3, 4)),
        ("kernel 2, stride 2", [3, 2], {k: 2, "stride": 2}, of(1, 3, 3, 3)),
        ("groups 2", [4, 6], {k: 3, "groups": 2, "padding": 1}, of(1, 4, 3, 3)),
        ("dilation 2", [2, 2], {k: 3, "dilation": 2, "padding": 1}, of(1, 2, 4, 3)),
        ("no bias", [2, 2], {k: 3, "bias": False}, of(1, 2, 3, 3)),
        ("asymmetric everything", [2, 4],
         {k: [3, 2], "stride": [2, 3], "padding": [1, 0], "outputPadding": [1, 2],
          "dilation": [1, 2], "groups": 2}, of(1, 2, 3, 4)),
    ]
    return [layer_case(name, "Conv2d", *rest) for name, *rest in plain] + [
        layer_case(name, "ConvTranspose2d", *rest) for name, *rest in transposed
    ]


def norm_cases():
    return [
        layer_case("one dim", "LayerNorm", [[5]], {}, of(3, 5)),
        layer_case("one dim of 3", "LayerNorm", [[4]], {}, of(2, 3, 4)),
        layer_case("two dims", "LayerNorm", [[3, 4]], {}, of(2, 3, 4)),
        layer_case("no affine", "LayerNorm", [[6]], {"elementwiseAffine": False}, of(3, 6)),
        layer_case("eps 0.1", "LayerNorm", [[4]], {"eps": 0.1}, of(3, 4)),
        layer_case("large mean", "LayerNorm", [[6]], {}, of(2, 6, low=9999.0, high=10001.0)),
        layer_case("images", "GroupNorm", [2, 4], {}, of(2, 4, 3, 3)),
        layer_case("2-D input", "GroupNorm", [3, 6], {}, of(4, 6)),
        layer_case("3-D input, one group", "GroupNorm", [1, 4], {}, of(2, 4, 3)),
        layer_case("group per channel", "GroupNorm", [3, 3], {"eps": 1e-3}, of(2, 3, 2, 2)),
        layer_case("no affine", "GroupNorm", [2, 4], {"affine": False}, of(1, 4, 2, 3)),
    ]


def pool_cases():
    k = "kernelSize"
    return [
        layer_case("kernel 2", "MaxPool2d", [], {k: 2}, distinct(2, 2, 4, 6)),
        layer_case("odd sizes", "MaxPool2d", [], {k: 2}, distinct(1, 2, 5, 7)),
        layer_case("overlapping windows", "MaxPool2d", [], {k: 3, "stride": 2},
                   distinct(1, 2, 7, 6)),
        layer_case("padding 1", "MaxPool2d", [], {k: 3, "stride": 2, "padding": 1},
                   distinct(1, 2, 6, 5)),
        layer_case("all negative, padded", "MaxPool2d", [], {k: 3, "stride": 2, "padding": 1},
                   lambda s: -1 - s.distinct(1, 1, 4, 4).abs()),
        layer_case("dilation 2", "MaxPool2d", [], {k: 2, "stride": 1, "dilation": 2},
                   distinct(1, 2, 5, 5)),
        layer_case("asymmetric", "MaxPool2d", [],
                   {k: [3, 2], "stride": [1, 2], "padding": [1, 0]}, distinct(1, 2, 4, 6)),
        layer_case("ceilMode", "MaxPool2d", [], {k: 2, "ceilMode": True}, distinct(1, 2, 5, 7)),
        layer_case("ties go to the first", "MaxPool2d", [], {k: 2}, few(1, 2, 4, 4)),
        layer_case("ties, overlapping", "MaxPool2d", [], {k: 3, "stride": 1}, few(1, 1, 5, 5)),
        layer_case("kernel 2", "AvgPool2d", [], {k: 2}, of(2, 2, 4, 6)),
        layer_case("stride 1", "AvgPool2d", [], {k: 3, "stride": 1}, of(1, 2, 5, 4)),
        layer_case("padding counted", "AvgPool2d", [],
                   {k: 3, "stride": 2, "padding": 1, "countIncludePad": True}, of(1, 2, 5, 6)),
        layer_case("padding not counted", "AvgPool2d", [],
                   {k: 3, "stride": 2, "padding": 1, "countIncludePad": False}, of(1, 2, 5, 6)),
        layer_case("asymmetric", "AvgPool2d", [],
                   {k: [2, 3], "stride": [2, 1], "padding": [1, 1], "countIncludePad": False},
                   of(1, 1, 4, 5)),
        layer_case("ceilMode", "AvgPool2d", [], {k: 2, "ceilMode": True}, of(1, 2, 5, 3)),
        layer_case("to 1 by 1", "AdaptiveAvgPool2d", [1], {}, of(2, 3, 4, 5)),
        layer_case("even division", "AdaptiveAvgPool2d", [[2, 3]], {}, of(1, 2, 4, 6)),
        layer_case("uneven division", "AdaptiveAvgPool2d", [[3, 2]], {}, of(1, 2, 5, 7)),
        layer_case("larger than the input", "AdaptiveAvgPool2d", [[3, 4]], {}, of(1, 1, 2, 3)),
    ]


def activation_cases():
    """Smooth ranges, tiny and large inputs, and the corners where PyTorch's choice is the answer."""
    smooth = of(4, 9, low=-4.0, high=4.0)
    large = torch.tensor([-1e4, -100.0, -30.0, -1e-3, -1e-6, 1e-6, 1e-3, 30.0, 100.0, 1e4])
    settings = [
        ("ReLU", {}, [0.0]),
        ("LeakyReLU", {}, [0.0]),
        ("LeakyReLU", {"negativeSlope": 0.3}, [0.0]),
        ("ELU", {}, [0.0]),
        ("ELU", {"alpha": 0.5}, [0.0]),
        ("SELU", {}, [0.0]),
        ("CELU", {}, [0.0]),
        ("CELU", {"alpha": 1.5}, [0.0]),
        ("GELU", {}, []),
        ("GELU", {"approximate": "tanh"}, []),
        ("SiLU", {}, []),
        ("Sigmoid", {}, []),
        ("Tanh", {}, []),
        ("Softplus", {}, []),
        ("Softplus", {"beta": 2.0, "threshold": 3.0}, []),
        ("Hardtanh", {}, [-1.0, 1.0]),
        ("Hardtanh", {"minVal": -0.5, "maxVal": 2.0}, [-0.5, 2.0]),
        ("Hardswish", {}, [-3.0, 3.0]),
        ("Hardsigmoid", {}, [-3.0, 3.0]),
        ("ReLU6", {}, [0.0, 6.0]),
        ("Mish", {}, []),
        ("LogSigmoid", {}, []),
        ("Softsign", {}, [0.0]),
        ("Tanhshrink", {}, []),
    ]
    cases = []
    for layer, options, kinks in settings:
        text = ", ".join(f"{k} {v}" for k, v in options.items()) or "default"
        cases.append(layer_case(text, layer, [], options, smooth))
        cases.append(layer_case(f"{text}, tiny and large inputs", layer, [], options, large))
        if kinks:
            cases.append(layer_case(f"{text}, kinks", layer, [], options, torch.tensor(kinks)))
    return cases + [
        layer_case("one slope", "PReLU", [], {}, of(3, 4)),
        layer_case("slope per channel", "PReLU", [3], {}, of(2, 3, 2, 2)),
        layer_case("kink", "PReLU", [], {}, torch.tensor([0.0, -1.0, 1.0])),
    ]


def softmax_cases():
    big = torch.tensor([[1e4, 1e4 - 1, 0.0], [-1e4, -1e4, -1e4 + 2], [88.0, 89.0, 90.0]])
    cases = []
    for layer in ("Softmax", "LogSoftmax"):
        cases += [
            layer_case("last dim", layer, [], {"dim": -1}, of(3, 5)),
            layer_case("dim 1 of 2", layer, [], {"dim": 1}, of(4, 3)),
            layer_case("dim 0", layer, [], {"dim": 0}, of(4, 3)),
            layer_case("dim 1 of 4", layer, [], {"dim": 1}, of(2, 3, 2, 2)),
            layer_case("large logits", layer, [], {"dim": 1}, big),
            layer_case("one class", layer, [], {"dim": 1}, of(3, 1)),
        ]
    return cases


def batch_norm_cases():
    flat, image, train2 = (5, 3), (2, 3, 2, 3), ["train", "train", "eval"]
    cases = [
        batch_norm_case("2-D input", "BatchNorm1d", {}, flat, train2),
        batch_norm_case("3-D input", "BatchNorm1d", {}, (3, 2, 4), train2),
        batch_norm_case("images", "BatchNorm2d", {}, image, train2),
        batch_norm_case("eval only", "BatchNorm2d", {}, image, ["eval"]),
        batch_norm_case("eval, then train", "BatchNorm1d", {}, flat, ["eval", "train", "eval"]),
    ]
    variants = [
        ("affine false", {"affine": False}),
        ("momentum 0.3, eps 1e-3", {"momentum": 0.3, "eps": 1e-3}),
        ("cumulative average", {"momentum": None}),
        ("trackRunningStats false", {"trackRunningStats": False}),
    ]
    for name, options in variants:
        modes = train2 if name != "cumulative average" else ["train", "train", "train", "eval"]
        cases.append(batch_norm_case(name, "BatchNorm2d", options, image, modes))
        cases.append(batch_norm_case(name, "BatchNorm1d", options, flat, modes))
    return cases


def generate():
    cases = dense_cases() + conv_cases() + norm_cases() + pool_cases() + activation_cases()
    write("layers.json", {"cases": cases + softmax_cases(), "batchNorm": batch_norm_cases()})
