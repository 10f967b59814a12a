"""schedules.json: learning rates by step, rates that follow a metric, and update_bn.

Rates are Python floats with 12 significant digits. A schedule is written as our JSON: where PyTorch
gives every group the same rate, such as eta_min, ours has a list.
"""

import math
import warnings

import torch
from torch.optim import lr_scheduler
from torch.optim.swa_utils import update_bn

from common import Source, encode, encode_all, snake, write

BASES = [0.4, 0.05]
CLASSES = {
    "step": "StepLR",
    "multiStep": "MultiStepLR",
    "exponential": "ExponentialLR",
    "linear": "LinearLR",
    "constant": "ConstantLR",
    "polynomial": "PolynomialLR",
    "cosine": "CosineAnnealingLR",
    "cosineWarmRestarts": "CosineAnnealingWarmRestarts",
    "oneCycle": "OneCycleLR",
    "cyclic": "CyclicLR",
}
SPELL = {"t_max": "T_max", "t0": "T_0", "t_mult": "T_mult"}


def spelt(options):
    """PyTorch's names; a list of equal rates is one number there."""
    named = {SPELL.get(k, k): v for k, v in snake(options).items()}
    eta = named.get("eta_min")
    return {**named, **({"eta_min": eta[0]} if isinstance(eta, list) else {})}


def scheduler(optimizer, json):
    """The scheduler that our JSON describes."""
    kind, options = json["type"], {k: v for k, v in json.items() if k != "type"}
    if kind == "sequential":
        parts = [scheduler(optimizer, part) for part in options["schedules"]]
        return lr_scheduler.SequentialLR(optimizer, parts, options["milestones"])
    if kind == "chained":
        return lr_scheduler.ChainedScheduler([scheduler(optimizer, p) for p in options["schedules"]])
    return getattr(lr_scheduler, CLASSES[kind])(optimizer, **spelt(options))


def round12(value):
    return float(f"{value:.12g}")


def optimizer_of(kind, bases):
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in bases]
    more = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(torch.optim, kind)(groups, lr=bases[0], **more)


def momentum_of(group):
    return group["betas"][0] if "betas" in group else group["momentum"]


def trace(name, json, steps=40, bases=BASES, kind="SGD", momentum=False):
    """The rates of `steps` steps in each group."""
    optimizer = optimizer_of(kind, bases)
    made = scheduler(optimizer, json)
    lrs, momenta = [], []
    for step in range(steps):
        lrs.append([round12(g["lr"]) for g in optimizer.param_groups])
        momenta.append(round12(momentum_of(optimizer.param_groups[0])))
        optimizer.step()
        if step < steps - 1:
            made.step()
    case = {"name": f"{json['type']}: {name}", "schedule": json, "bases": bases, "lrs": lrs}
    return {**case, "momentum": momenta} if momentum else case


def schedules():
    step = lambda **o: {"type": "step", **o}
    cases = [
        trace("defaults", step(stepSize=7)),
        trace("gamma", step(stepSize=3, gamma=0.7)),
        trace("defaults", {"type": "multiStep", "milestones": [5, 12, 30]}),
        trace("twice at once", {"type": "multiStep", "milestones": [4, 4, 9], "gamma": 0.5}),
        trace("slow", {"type": "exponential", "gamma": 0.95}),
        trace("defaults", {"type": "linear"}),
        trace("down", {"type": "linear", "startFactor": 1.0, "endFactor": 0.1, "totalIters": 30}),
        trace("defaults", {"type": "constant"}, steps=30),
        trace("long", {"type": "constant", "factor": 0.7, "totalIters": 17}),
        trace("defaults", {"type": "polynomial"}, steps=30),
        trace("square", {"type": "polynomial", "totalIters": 25, "power": 2.0}),
        trace("root", {"type": "polynomial", "totalIters": 33, "power": 0.5}),
        trace("once", {"type": "cosine", "tMax": 39}),
        trace("and up again", {"type": "cosine", "tMax": 13, "etaMin": [0.01, 0.01]}, steps=60),
        trace("even", {"type": "cosineWarmRestarts", "t0": 7, "etaMin": [0.002, 0.002]}),
        trace("growing", {"type": "cosineWarmRestarts", "t0": 4, "tMult": 2}, steps=60),
        trace("three times", {"type": "cosineWarmRestarts", "t0": 2, "tMult": 3}, steps=60),
    ]
    return cases + cycles() + combined()


def cycles():
    one = lambda **o: {"type": "oneCycle", "maxLr": [0.4, 0.1], **o}
    cyclic = lambda **o: {"type": "cyclic", "baseLr": [0.01, 0.002], "maxLr": [0.2, 0.05], **o}
    return [
        trace("defaults", one(totalSteps=40), momentum=True),
        trace("Adam", one(totalSteps=33), steps=33, kind="Adam", momentum=True),
        trace("linear", one(totalSteps=30, annealStrategy="linear", pctStart=0.4), 30, momentum=True),
        trace("three phases", one(totalSteps=40, threePhase=True), momentum=True),
        trace(
            "three linear phases, factors",
            one(
                totalSteps=37,
                threePhase=True,
                annealStrategy="linear",
                pctStart=0.23,
                divFactor=10.0,
                finalDivFactor=50.0,
                baseMomentum=0.7,
                maxMomentum=0.9,
            ),
            steps=37,
            momentum=True,
        ),
        trace("no momentum", one(totalSteps=40, cycleMomentum=False), momentum=True),
        trace("short rise", one(totalSteps=40, pctStart=0.01), momentum=True),
        trace("triangular", cyclic(stepSizeUp=5), momentum=True),
        trace("triangular2", cyclic(stepSizeUp=4, stepSizeDown=6, mode="triangular2"), momentum=True),
        trace(
            "exp_range",
            cyclic(stepSizeUp=7, stepSizeDown=3, mode="exp_range", gamma=0.97, baseMomentum=0.6),
            momentum=True,
        ),
    ]


def combined():
    warm = {"type": "linear", "startFactor": 0.1, "totalIters": 5}
    exponential = {"type": "exponential", "gamma": 0.9}
    return [
        trace(
            "warm-up, then exponential",
            {"type": "sequential", "schedules": [warm, exponential], "milestones": [5]},
        ),
        trace(
            "three parts",
            {
                "type": "sequential",
                "schedules": [
                    {"type": "constant", "factor": 0.5, "totalIters": 50},
                    {"type": "step", "stepSize": 4, "gamma": 0.5},
                    exponential,
                ],
                "milestones": [6, 21],
            },
        ),
        trace("warm-up and steps", {"type": "chained", "schedules": [warm, step_of(8)]}),
        trace(
            "three at once",
            {"type": "chained", "schedules": [warm, exponential, {"type": "constant"}]},
        ),
    ]


def step_of(size):
    return {"type": "step", "stepSize": size, "gamma": 0.5}


def plateau(name, options, metrics, bases=BASES):
    """The rates after each value of a metric."""
    optimizer = optimizer_of("SGD", bases)
    named = snake(options)
    least = named.get("min_lr")
    made = lr_scheduler.ReduceLROnPlateau(optimizer, **named)
    lrs = []
    for metric in metrics:
        made.step(metric)
        lrs.append([round12(g["lr"]) for g in optimizer.param_groups])
    json = {"type": "plateau", **options}
    assert least is None or isinstance(least, list)
    texts = [m if math.isfinite(m) else {"nan": "NaN", "inf": "Infinity"}[str(m)] for m in metrics]
    return {"name": name, "schedule": json, "bases": bases, "metrics": texts, "lrs": lrs}


def plateaus():
    source = Source("plateau")
    noise = source.uniform(50, low=-0.2, high=0.2, digits=3).tolist()
    falling = [round(2 * 0.9**i + n, 3) for i, n in enumerate(noise)]
    rising = [round(1 - 0.9**i + n, 3) for i, n in enumerate(noise)]
    nan = float("nan")
    return [
        plateau("min, defaults", {"mode": "min"}, falling),
        plateau("min, rel", {"mode": "min", "patience": 2, "factor": 0.5, "threshold": 0.05}, falling),
        plateau("min, abs", {"mode": "min", "patience": 1, "factor": 0.5, "threshold": 0.1,
                             "thresholdMode": "abs"}, falling),
        plateau("max, rel", {"mode": "max", "patience": 1, "factor": 0.7, "threshold": 0.02}, rising),
        plateau("max, abs, cooldown", {"mode": "max", "patience": 0, "factor": 0.5, "cooldown": 3,
                                       "thresholdMode": "abs"}, rising),
        plateau("least rates", {"mode": "max", "patience": 0, "factor": 0.3,
                                "minLr": [0.01, 0.001]}, rising),
        plateau("eps", {"mode": "min", "patience": 0, "factor": 0.5, "eps": 0.004}, falling),
        plateau("zero is the best", {"mode": "min", "patience": 1, "factor": 0.5},
                [1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0]),
        plateau("zero first", {"mode": "max", "patience": 1, "factor": 0.5}, [0.0] * 8),
        plateau("negative", {"mode": "min", "patience": 0, "factor": 0.5, "threshold": 0.1},
                [-1.0, -1.05, -0.95, -0.8, -2.0, -1.9]),
        plateau("NaN", {"mode": "min", "patience": 1, "factor": 0.5},
                [1.0, nan, nan, nan, 0.5, nan, 0.4, nan]),
        plateau("NaN first, infinity", {"mode": "max", "patience": 0, "factor": 0.5},
                [nan, 1.0, float("inf"), 2.0, 3.0]),
    ]


def batch_norm_update():
    """update_bn over batches of different sizes, after some steps of training."""
    source = Source("update_bn")
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Linear(4, 2),
        torch.nn.BatchNorm1d(2),
    )
    state = {k: source.uniform(*v.shape, digits=2) for k, v in model.state_dict().items()
             if v.is_floating_point() and "running" not in k}
    model.load_state_dict(state, strict=False)
    model.double()
    batches = [source.uniform(n, 3) for n in (4, 5, 2)]
    warm = source.uniform(6, 3)
    model(warm.double())
    update_bn([batch.double() for batch in batches], model)
    buffers = {k: v for k, v in model.state_dict().items() if "running" in k or "num_" in k}
    return {"name": "after training", "params": encode_all(state), "before": encode(warm),
            "batches": [encode(b) for b in batches], "buffers": encode_all(buffers)}


def generate():
    # SequentialLR itself steps its parts that way.
    warnings.filterwarnings("ignore", message="The epoch parameter")
    write("schedules.json", {
        "schedules": schedules(), "plateaus": plateaus(), "updateBn": [batch_norm_update()],
    })
