"""losses.json: every loss with its options: value, and gradients of the differentiable inputs."""

import torch
from torch.nn import functional as F

from common import Source, encode_all, leaf, record, snake, write

REDUCTIONS = ["mean", "sum", "none"]
FUNCTIONS = {
    "crossEntropy": F.cross_entropy,
    "nllLoss": F.nll_loss,
    "binaryCrossEntropyWithLogits": F.binary_cross_entropy_with_logits,
    "mseLoss": F.mse_loss,
    "l1Loss": F.l1_loss,
    "huberLoss": F.huber_loss,
    "smoothL1Loss": F.smooth_l1_loss,
    "klDiv": F.kl_div,
}


def loss_case(name, loss, options, draw):
    """`draw(source)` gives the inputs by name; the weights get no gradient."""
    name = f"{loss}: {name}"
    source = Source(name)
    inputs = draw(source)
    fixed = ["weight", "posWeight"]
    if loss == "klDiv" and (inputs["target"] == 0).any():
        fixed.append("target")  # the gradient by a probability of 0 is infinite
    leaves = {key: leaf(value, key not in fixed) for key, value in inputs.items()}
    call = {**{key: leaves[key] for key in leaves if key.lower().endswith("weight")}, **options}
    output = FUNCTIONS[loss](leaves["input"], leaves["target"], **snake(call))
    case = {"name": name, "loss": loss, "options": options, "inputs": encode_all(inputs)}
    return {**case, **record(source, leaves, {"output": output})}


def classes(shape, targets, weight=False, scale=2.0, log_probabilities=False):
    """Logits (or log-probabilities) of `shape` [N, C, ...] against integer targets."""

    def draw(source):
        logits = source.uniform(*shape, low=-scale, high=scale)
        if log_probabilities:
            logits = logits.log_softmax(1)
        inputs = {"input": logits, "target": torch.tensor(targets)}
        if weight:
            inputs["weight"] = source.uniform(shape[1], low=0.2, high=2.0)
        return inputs

    return draw


def pair(*shape, low=-2.0, high=2.0):
    """Two inputs of one shape."""
    return lambda s: {k: s.uniform(*shape, low=low, high=high) for k in ("input", "target")}


def values(input_, target):
    """Two inputs with the values given."""
    return lambda _: {"input": torch.tensor(input_), "target": torch.tensor(target)}


def classification_cases(loss):
    log = loss == "nllLoss"
    flat, spatial = [2, 0, 3, 1, 3], [[[0, 2], [1, 1]], [[2, 2], [0, 1]]]
    cases = []
    for reduction in REDUCTIONS:
        r = {"reduction": reduction}
        settings = [
            ("plain", r, (5, 4), flat, False),
            ("weight", r, (5, 4), flat, True),
            ("ignoreIndex", {**r, "ignoreIndex": 3}, (5, 4), flat, False),
            ("ignoreIndex -100", r, (4, 3), [2, -100, 0, -100], False),
            ("weight, ignoreIndex", {**r, "ignoreIndex": 3}, (5, 4), flat, True),
            ("spatial", r, (2, 3, 2, 2), spatial, False),
            ("spatial, weight, ignoreIndex", {**r, "ignoreIndex": 1}, (2, 3, 2, 2), spatial, True),
        ]
        if not log:
            smooth = {**r, "labelSmoothing": 0.1}
            settings += [
                ("labelSmoothing", smooth, (5, 4), flat, False),
                ("labelSmoothing, weight", smooth, (5, 4), flat, True),
                ("labelSmoothing, ignoreIndex", {**smooth, "ignoreIndex": 3}, (5, 4), flat, False),
                ("all options", {**smooth, "ignoreIndex": 3}, (5, 4), flat, True),
                ("spatial, all options", {**smooth, "ignoreIndex": 1}, (2, 3, 2, 2), spatial, True),
                ("labelSmoothing 1", {**r, "labelSmoothing": 1.0}, (3, 4), [0, 1, 3], False),
            ]
        for name, options, shape, targets, weight in settings:
            draw = classes(shape, targets, weight, log_probabilities=log)
            cases.append(loss_case(f"{name}, {reduction}", loss, options, draw))
    for reduction in ("sum", "none"):
        draw = classes((2, 3), [-100, -100], log_probabilities=log)
        cases.append(loss_case(f"all ignored, {reduction}", loss, {"reduction": reduction}, draw))
    return cases


def edge_cases():
    huge = [[1e4, -1e4, 0.0], [5e3, 5e3, -1e4], [-1e4, 1e4, 1e4]]
    return [
        loss_case("one class", "crossEntropy", {}, classes((3, 1), [0, 0, 0])),
        loss_case("logits of 1e4", "crossEntropy", {},
                  lambda _: {"input": torch.tensor(huge), "target": torch.tensor([0, 2, 0])}),
        loss_case("logits of 1e4, labelSmoothing", "crossEntropy", {"labelSmoothing": 0.1},
                  lambda _: {"input": torch.tensor(huge), "target": torch.tensor([0, 2, 0])}),
        loss_case("defaults", "crossEntropy", {}, classes((6, 10), [9, 0, 4, 4, 1, 7], scale=5.0)),
        loss_case("logits of 1e4", "binaryCrossEntropyWithLogits", {},
                  values([1e4, -1e4, 1e4, -1e4, 0.0, 1e-6], [1.0, 0.0, 0.0, 1.0, 0.5, 1.0])),
        loss_case("equal inputs", "l1Loss", {}, values([1.0, 2.0, 3.0], [1.0, 0.0, 5.0])),
        loss_case("at delta", "huberLoss", {"delta": 0.5},
                  values([0.5, -0.5, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0])),
        loss_case("at beta", "smoothL1Loss", {"beta": 0.5},
                  values([0.5, -0.5, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0])),
        loss_case("beta 0", "smoothL1Loss", {"beta": 0.0},
                  values([0.5, -0.5, 2.0], [0.0, 0.0, 0.0])),
    ]


def binary_cases(reduction):
    def draw(weight, pos_weight):
        def of(source):
            inputs = {"input": source.uniform(3, 4, low=-3.0, high=3.0),
                      "target": source.flags(3, 4).float()}
            if weight:
                inputs["weight"] = source.uniform(3, 4, low=0.2, high=2.0)
            if pos_weight:
                inputs["posWeight"] = source.uniform(4, low=0.5, high=3.0)
            return inputs
        return of

    def soft(source):
        return {"input": source.uniform(5), "target": source.uniform(5, low=0.0, high=1.0)}

    loss, r = "binaryCrossEntropyWithLogits", {"reduction": reduction}
    return [
        loss_case(f"plain, {reduction}", loss, r, draw(False, False)),
        loss_case(f"weight, {reduction}", loss, r, draw(True, False)),
        loss_case(f"posWeight, {reduction}", loss, r, draw(False, True)),
        loss_case(f"weight, posWeight, {reduction}", loss, r, draw(True, True)),
        loss_case(f"soft targets, {reduction}", loss, r, soft),
    ]


def regression_cases(reduction):
    r = {"reduction": reduction}
    settings = [
        ("mseLoss", "plain", {}),
        ("l1Loss", "plain", {}),
        ("huberLoss", "delta 1", {}),
        ("huberLoss", "delta 0.7", {"delta": 0.7}),
        ("smoothL1Loss", "beta 1", {}),
        ("smoothL1Loss", "beta 0.7", {"beta": 0.7}),
    ]
    return [
        loss_case(f"{name}, {reduction}", loss, {**r, **options}, pair(3, 4))
        for loss, name, options in settings
    ]


def divergence_cases(reduction):
    def draw(log_target):
        def of(source):
            target = source.uniform(3, 4).softmax(1)
            if not log_target:
                target[0, 1] = 0.0
            inputs = {"input": source.uniform(3, 4).log_softmax(1)}
            return {**inputs, "target": target.log() if log_target else target}
        return of

    cases = []
    for log_target in (False, True):
        options = {"reduction": reduction, "logTarget": log_target}
        name = f"{'log targets' if log_target else 'targets'}, {reduction}"
        cases.append(loss_case(name, "klDiv", options, draw(log_target)))
    return cases


def generate():
    cases = classification_cases("crossEntropy") + classification_cases("nllLoss")
    for reduction in REDUCTIONS:
        cases += binary_cases(reduction) + regression_cases(reduction)
    for reduction in ["batchmean", *REDUCTIONS]:
        cases += divergence_cases(reduction)
    write("losses.json", {"cases": cases + edge_cases()})
