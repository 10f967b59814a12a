"""optimizers.json: ten steps on fixed gradients, and clipping by the global norm.

Parameters and gradients are float32 values; the recurrences run in float64.
"""

import torch

from common import Source, encode, encode_all, snake, write
from optimizer_formulas import FORMULAS

STEPS = 10
SHAPES = {"a": (2, 3), "b": (5,)}
# For Muon: wide, tall, of a convolution, and of a bias.
MATRICES = {"a": (2, 3), "b": (5, 2), "c": (2, 2, 2, 1), "d": (3,)}


def gradients(source, scale=1.0, skip=(), shapes=SHAPES):
    """Ten steps of gradients: one all zero, one large; `skip` lists (step, name) without any."""
    steps = []
    for step in range(STEPS):
        size = {3: 0.0, 6: 50.0}.get(step, 1.0) * scale
        draw = {k: (source.uniform(*shape) * size).float() for k, shape in shapes.items()}
        steps.append({k: None if (step, k) in skip else v for k, v in draw.items()})
    return steps


def trace(name, optimizer, options, groups=None, lrs=None, scale=1.0, skip=(), shapes=SHAPES):
    """One case: `groups` is [(names, overrides)], `lrs` sets the rate of every step."""
    name = f"{optimizer}: {name}"
    source = Source(name)
    start = {k: source.uniform(*shape) for k, shape in shapes.items()}
    leaves = {k: v.double().requires_grad_() for k, v in start.items()}
    steps = gradients(source, scale, skip, shapes)
    parts = groups or [(list(shapes), {})]
    made = (FORMULAS.get(optimizer) or getattr(torch.optim, optimizer))(
        [{"params": [leaves[k] for k in names], **snake(o)} for names, o in parts], **snake(options)
    )
    after = []
    for step, grads in enumerate(steps):
        for key, grad in grads.items():
            leaves[key].grad = None if grad is None else grad.double()
        if lrs:
            made.param_groups[0]["lr"] = lrs[step]
        made.step()
        after.append(encode_all(leaves))
    case = {
        "name": name,
        "optimizer": optimizer,
        "options": options,
        "groups": [{"params": names, "options": overrides} for names, overrides in parts],
        "params": encode_all(start),
        "gradients": [{k: v if v is None else encode(v) for k, v in g.items()} for g in steps],
        "after": after,
        "state": {k: state_of(made.state[leaf]) for k, leaf in leaves.items()},
    }
    return {**case, "lrs": lrs} if lrs else case


def state_of(state):
    """The optimizer's slots of one parameter after the last step."""
    wrap = lambda value: value if torch.is_tensor(value) else torch.tensor(float(value), dtype=torch.float64)
    return encode_all({k: wrap(v) for k, v in state.items() if v is not None})


def optimizer_cases():
    split = [(["a"], {}), (["b"], {"lr": 0.02})]
    decay = [(["a"], {}), (["b"], {"weightDecay": 0.0})]
    missing = dict(skip={(0, "b"), (4, "a"), (5, "b")})
    falling = [0.1, 0.1, 0.08, 0.06, 0.04, 0.02, 0.01, 0.005, 0.0, 0.1]
    settings = [
        ("plain", "SGD", {"lr": 0.1}),
        ("momentum", "SGD", {"lr": 0.05, "momentum": 0.9}),
        ("nesterov", "SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
        ("dampening", "SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3}),
        ("weightDecay", "SGD", {"lr": 0.1, "weightDecay": 0.05}),
        ("momentum, weightDecay", "SGD", {"lr": 0.05, "momentum": 0.9, "weightDecay": 0.05}),
        ("nesterov, weightDecay", "SGD",
         {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weightDecay": 0.05}),
        ("default", "Adam", {}),
        ("lr 0.1, betas, eps", "Adam", {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-4}),
        ("weightDecay", "Adam", {"lr": 0.01, "weightDecay": 0.1}),
        ("beta1 0", "Adam", {"lr": 0.01, "betas": [0.0, 0.99]}),
        ("default", "AdamW", {}),
        ("weightDecay 0.1", "AdamW", {"lr": 0.02, "weightDecay": 0.1}),
        ("no decay", "AdamW", {"lr": 0.02, "weightDecay": 0.0}),
        ("plain", "RMSprop", {"lr": 0.01}),
        ("alpha, eps", "RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-3}),
        ("centered", "RMSprop", {"lr": 0.01, "centered": True}),
        ("momentum", "RMSprop", {"lr": 0.01, "momentum": 0.9}),
        ("weightDecay", "RMSprop", {"lr": 0.01, "weightDecay": 0.1}),
        ("all options", "RMSprop",
         {"lr": 0.01, "alpha": 0.95, "momentum": 0.8, "centered": True, "weightDecay": 0.1}),
    ]
    cases = [trace(*row) for row in settings]
    for optimizer, options in [
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
        ("Adam", {"lr": 0.1}),
        ("AdamW", {"lr": 0.1, "weightDecay": 0.1}),
        ("RMSprop", {"lr": 0.1, "momentum": 0.5, "centered": True}),
    ]:
        cases.append(trace("two groups of different lr", optimizer, options, groups=split))
        cases.append(trace("missing gradients", optimizer, options, **missing))
        cases.append(trace("lr changed between steps", optimizer, options, lrs=falling))
    return cases + [
        trace("a group without decay", "AdamW", {"lr": 0.05, "weightDecay": 0.2}, groups=decay),
        trace("gradients near eps", "Adam", {"lr": 0.01}, scale=2.0**-26),
        trace("gradients near eps", "RMSprop", {"lr": 0.01}, scale=2.0**-26),
    ]


def more_cases():
    """Optimizers beside SGD, Adam and RMSprop; those of FORMULAS are not PyTorch's code."""
    missing = dict(skip={(0, "b"), (4, "a"), (5, "b")})
    split = [(["a"], {}), (["b"], {"lr": 0.02, "weightDecay": 0.0})]
    matrices = [(["a", "b", "c"], {}), (["d"], {"method": "adamw", "lr": 3e-3, "eps": 1e-8})]
    falling = [0.1, 0.1, 0.08, 0.06, 0.04, 0.02, 0.01, 0.005, 0.0, 0.1]
    rest = dict(shapes=MATRICES, groups=matrices)
    return [
        trace("default", "Adagrad", {}),
        trace("all options", "Adagrad", {"lr": 0.1, "lrDecay": 0.05, "weightDecay": 0.1,
                                         "initialAccumulatorValue": 0.3, "eps": 1e-4}),
        trace("missing gradients", "Adagrad", {"lr": 0.1, "lrDecay": 0.1}, **missing),
        trace("default", "Adadelta", {}),
        trace("all options", "Adadelta",
              {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weightDecay": 0.1}, **missing),
        trace("default", "Adamax", {}),
        trace("all options", "Adamax",
              {"lr": 0.1, "betas": [0.8, 0.9], "eps": 1e-3, "weightDecay": 0.1}, **missing),
        trace("default", "NAdam", {}),
        trace("all options", "NAdam", {"lr": 0.05, "betas": [0.8, 0.95], "eps": 1e-4,
                                       "weightDecay": 0.1, "momentumDecay": 0.3}),
        trace("missing gradients", "NAdam", {"lr": 0.05}, **missing),
        trace("lr changed between steps", "NAdam", {"lr": 0.1}, lrs=falling),
        trace("default", "Lion", {}),
        trace("all options", "Lion", {"lr": 0.05, "betas": [0.8, 0.95], "weightDecay": 0.3},
              groups=split, **missing),
        trace("default", "LAMB", {}),
        trace("all options", "LAMB", {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-3,
                                      "weightDecay": 0.2}, groups=split, **missing),
        trace("trustClip, alwaysAdapt", "LAMB",
              {"lr": 0.1, "weightDecay": 0.0, "trustClip": True, "alwaysAdapt": True}),
        trace("no biasCorrection", "LAMB", {"lr": 0.1, "biasCorrection": False}),
        trace("default", "Muon", {}, **rest),
        trace("all options", "Muon", {"lr": 0.1, "weightDecay": 0.1, "momentum": 0.8,
                                      "nesterov": False, "nsSteps": 3, "eps": 1e-3}, **rest),
    ]


def clip_case(name, max_norm, scale=1.0):
    """clipGradNorm on two gradients: the norm before, and the gradients after."""
    name = f"clipGradNorm: {name}"
    source = Source(name)
    grads = {k: (source.uniform(*shape) * scale).float() for k, shape in SHAPES.items()}
    leaves = {k: torch.zeros_like(v).double().requires_grad_() for k, v in grads.items()}
    for key, grad in grads.items():
        leaves[key].grad = grad.double()
    norm = torch.nn.utils.clip_grad_norm_(list(leaves.values()), max_norm)
    return {
        "name": name,
        "maxNorm": max_norm,
        "grads": encode_all(grads),
        "norm": encode(norm)["data"][0],
        "clipped": encode_all({k: leaf.grad for k, leaf in leaves.items()}),
    }


def generate():
    clips = [
        clip_case("below the limit", 100.0),
        clip_case("above the limit", 0.5),
        clip_case("far above the limit", 1.0, scale=1024.0),
        clip_case("zero gradients", 1.0, scale=0.0),
        clip_case("tiny gradients below a tiny limit", 1e-6, scale=2.0**-24),
    ]
    write("optimizers.json", {"cases": optimizer_cases() + more_cases(), "clip": clips})
