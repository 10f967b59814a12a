"""losses_more.json: margin losses, distances, and losses of probabilities, rates and variances."""

import torch
from torch.nn import functional as F

from common import Source, encode_all, leaf, record, snake, write

REDUCTIONS = ["mean", "sum", "none"]
FUNCTIONS = {
    "binaryCrossEntropy": F.binary_cross_entropy,
    "poissonNllLoss": F.poisson_nll_loss,
    "gaussianNllLoss": F.gaussian_nll_loss,
    "marginRankingLoss": F.margin_ranking_loss,
    "hingeEmbeddingLoss": F.hinge_embedding_loss,
    "softMarginLoss": F.soft_margin_loss,
    "multilabelSoftMarginLoss": F.multilabel_soft_margin_loss,
    "multiMarginLoss": F.multi_margin_loss,
    "cosineSimilarity": F.cosine_similarity,
    "pairwiseDistance": F.pairwise_distance,
    "cosineEmbeddingLoss": F.cosine_embedding_loss,
    "tripletMarginLoss": F.triplet_margin_loss,
}
# Operands that PyTorch gives no gradient, or whose gradient is of no use.
FIXED = {"target", "weight"}
WITH_TARGET = {"binaryCrossEntropy", "gaussianNllLoss"}


def loss_case(name, loss, options, draw):
    """`draw(source)` gives the operands in their order, and perhaps a weight."""
    name = f"{loss}: {name}"
    source = Source(name)
    inputs = draw(source)
    # The gradient by a target is infinite at probabilities of 0 and 1, and ours is bounded.
    with_target = loss in WITH_TARGET and "0 and 1" not in name
    fixed = FIXED - {"target"} if with_target else FIXED
    if "eps 4" in name:
        fixed = {"x1", "x2"}  # PyTorch's gradient leaves out that the length was held
    leaves = {key: leaf(value, key not in fixed) for key, value in inputs.items()}
    operands = [value for key, value in leaves.items() if key != "weight"]
    settings = {("log_input" if k == "logInput" else k): v for k, v in options.items()}
    if "weight" in leaves:
        settings["weight"] = leaves["weight"]
    output = FUNCTIONS[loss](*operands, **snake(settings))
    case = {"name": name, "loss": loss, "options": options, "inputs": encode_all(inputs)}
    return {**case, **record(source, leaves, {"output": output})}


def signs(source, *shape):
    return source.flags(*shape).float() * 2 - 1


def probabilities(weight):
    def draw(s):
        inputs = {"input": s.uniform(3, 4, low=0.05, high=0.95),
                  "target": s.uniform(3, 4, low=0.0, high=1.0)}
        return {**inputs, "weight": s.uniform(4, low=0.2, high=2.0)} if weight else inputs

    return draw


def counts(s):
    return {"input": s.uniform(3, 4, low=0.1, high=2.0), "target": s.integers(3, 4, below=5).float()}


def gaussian(*shape):
    return lambda s: {"input": s.uniform(3, 4), "target": s.uniform(3, 4),
                      "variance": s.uniform(*shape, low=0.1, high=2.0)}


def ranked(s):
    return {"x1": s.uniform(3, 4), "x2": s.uniform(3, 4), "target": signs(s, 3, 4)}


def signed(s):
    return {"input": s.uniform(3, 4), "target": signs(s, 3, 4)}


def labels(weight):
    def draw(s):
        inputs = {"input": s.uniform(3, 4, low=-3.0, high=3.0), "target": s.flags(3, 4).float()}
        return {**inputs, "weight": s.uniform(4, low=0.2, high=2.0)} if weight else inputs

    return draw


def classes(weight):
    def draw(s):
        inputs = {"input": s.uniform(5, 4), "target": torch.tensor([2, 0, 3, 1, 3])}
        return {**inputs, "weight": s.uniform(4, low=0.2, high=2.0)} if weight else inputs

    return draw


def vectors(s):
    return {"x1": s.uniform(4, 5), "x2": s.uniform(4, 5)}


def pairs(s):
    return {**vectors(s), "target": torch.tensor([1.0, -1.0, 1.0, -1.0])}


def triplets(s):
    return {key: s.uniform(4, 5) for key in ("anchor", "positive", "negative")}


def reduced_cases(reduction):
    r = {"reduction": reduction}
    settings = [
        ("binaryCrossEntropy", "plain", {}, probabilities(False)),
        ("binaryCrossEntropy", "weight", {}, probabilities(True)),
        ("poissonNllLoss", "logarithms", {}, counts),
        ("poissonNllLoss", "rates, full", {"logInput": False, "full": True}, counts),
        ("gaussianNllLoss", "plain", {}, gaussian(3, 4)),
        ("gaussianNllLoss", "one variance a row, full", {"full": True}, gaussian(3, 1)),
        ("marginRankingLoss", "plain", {}, ranked),
        ("marginRankingLoss", "margin 0.5", {"margin": 0.5}, ranked),
        ("hingeEmbeddingLoss", "margin 0.7", {"margin": 0.7}, signed),
        ("softMarginLoss", "plain", {}, signed),
        ("multilabelSoftMarginLoss", "plain", {}, labels(False)),
        ("multilabelSoftMarginLoss", "weight", {}, labels(True)),
        ("multiMarginLoss", "plain", {}, classes(False)),
        ("multiMarginLoss", "p 2, margin 0.7, weight", {"p": 2, "margin": 0.7}, classes(True)),
        ("cosineEmbeddingLoss", "margin 0.2", {"margin": 0.2}, pairs),
        ("tripletMarginLoss", "plain", {}, triplets),
        ("tripletMarginLoss", "swap, p 3", {"swap": True, "p": 3.0, "margin": 0.5}, triplets),
    ]
    return [
        loss_case(f"{name}, {reduction}", loss, {**r, **options}, draw)
        for loss, name, options, draw in settings
    ]


def edge_cases():
    none = {"reduction": "none"}
    given = lambda **tensors: lambda _: {k: torch.tensor(v) for k, v in tensors.items()}
    return [
        loss_case("0 and 1", "binaryCrossEntropy", none,
                  given(input=[0.0, 0.0, 1.0, 1.0, 0.0], target=[0.0, 1.0, 0.0, 1.0, 0.5])),
        loss_case("no variance, rows", "gaussianNllLoss", {**none, "eps": 0.25},
                  lambda s: {"input": s.uniform(3, 2), "target": s.uniform(3, 2),
                             "variance": torch.tensor([0.0, 0.25, 1.0])}),
        loss_case("no counts", "poissonNllLoss", {**none, "full": True},
                  given(input=[0.0, 1.0, -2.0, 0.5], target=[0.0, 1.0, 1.5, 2.0])),
        loss_case("at the margin", "marginRankingLoss", {**none, "margin": 1.0},
                  given(x1=[1.0, 0.0], x2=[0.0, 1.0], target=[1.0, -1.0])),
        loss_case("at the margin, other targets", "hingeEmbeddingLoss", none,
                  given(input=[1.0, 1.0, 0.5], target=[1.0, -1.0, 0.0])),
        loss_case("one sample", "multiMarginLoss", {},
                  given(input=[0.5, -1.0, 0.25], target=0)),
        loss_case("one pair", "cosineEmbeddingLoss", {},
                  given(x1=[1.0, 2.0], x2=[3.0, -1.0], target=-1.0)),
        loss_case("dim 1", "cosineSimilarity", {}, vectors),
        loss_case("dim 0, eps 4", "cosineSimilarity", {"dim": 0, "eps": 4.0}, vectors),
        loss_case("broadcast", "cosineSimilarity", {"dim": -1},
                  lambda s: {"x1": s.uniform(2, 1, 4), "x2": s.uniform(3, 4)}),
        loss_case("p 2", "pairwiseDistance", {}, vectors),
        loss_case("p 1, kept", "pairwiseDistance", {"p": 1.0, "keepdim": True}, vectors),
        loss_case("p 3, eps 0.5", "pairwiseDistance", {"p": 3.0, "eps": 0.5}, vectors),
        loss_case("equal vectors", "pairwiseDistance", {"eps": 2.0**-10},
                  given(x1=[[1.0, 2.0]], x2=[[1.0, 2.0]])),
    ]


def generate():
    cases = [case for reduction in REDUCTIONS for case in reduced_cases(reduction)]
    write("losses_more.json", {"cases": cases + edge_cases()})
