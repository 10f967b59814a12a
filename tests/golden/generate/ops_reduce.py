"""Reductions, scans, order, and products of matrices."""

import json
import math

import torch

from common import distinct, draw, few, of, op_case

SHAPE = (2, 3, 4)


def dims_of(options):
    """Positional and keyword arguments of a torch reduction for our {dim, keepdim}."""
    call = {k: v for k, v in options.items() if k in ("dim", "keepdim", "unbiased")}
    if isinstance(call.get("dim"), list):
        call["dim"] = tuple(call["dim"])
    return call


ALL = {}
ONE = {"dim": 1}
LAST = {"dim": -1, "keepdim": True}
TWO = {"dim": [0, 2]}
TWO_KEPT = {"dim": [-1, 0], "keepdim": True}


def named(pair):
    return {"values": pair[0], "indices": pair[1]}


def label(options):
    return ", ".join(f"{k} {json.dumps(v)}" for k, v in options.items()) or "all"


def smooth_cases():
    cases = []
    for op, run in (("sum", torch.sum), ("mean", torch.mean)):
        for options in (ALL, ONE, LAST, TWO, TWO_KEPT):
            cases.append(op_case(label(options), op, lambda a, o=options: run(a, **dims_of(o)),
                                 draw(input=of(*SHAPE)), options))
    for op, run in (("var", torch.var), ("std", torch.std)):
        for options in (ALL, ONE, LAST, TWO):
            for unbiased in (True, False):
                o = {**options, "unbiased": unbiased}
                cases.append(op_case(label(o), op, lambda a, o=o: run(a, **dims_of(o)),
                                     draw(input=of(*SHAPE)), o))
    for options in ({"dim": [0, 1, 2]}, ONE, LAST, TWO):
        cases.append(op_case(label(options), "logsumexp",
                             lambda a, o=options: torch.logsumexp(a, **dims_of(o)),
                             draw(input=of(*SHAPE)), options))
    for options in (ALL, ONE, LAST):
        cases.append(op_case(label(options), "prod",
                             lambda a, o=options: torch.prod(a, **dims_of(o)),
                             draw(input=of(*SHAPE)), options))
    for dim in (0, 1, -1):
        cases.append(op_case(f"dim {dim}", "cumsum", lambda a, d=dim: torch.cumsum(a, d),
                             draw(input=of(*SHAPE)), {"dim": dim}))
    return cases


def corner_cases():
    zeros = {
        "no zero": [[2.0, -3.0, 0.5]],
        "one zero": [[2.0, 0.0, -3.0]],
        "two zeros": [[0.0, 2.0, 0.0]],
    }
    cases = []
    for name, values in zeros.items():
        data = draw(input=torch.tensor(values))
        cases.append(op_case(f"{name}, all", "prod", torch.prod, data))
        cases.append(op_case(f"{name}, dim", "prod", lambda a: torch.prod(a, 1), data, {"dim": 1}))
    rows = torch.tensor([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0], [1.0, 2.0, 4.0]])
    big = torch.tensor([[1000.0, 1000.0], [-1000.0, -1001.0], [0.0, 1000.0]])
    hidden = torch.tensor([[-math.inf, -math.inf], [-math.inf, 0.0], [math.inf, 0.0]])
    constant, offset = torch.full((2, 3), 1.5), of(2, 5, low=9999.0, high=10001.0)
    return cases + [
        op_case("rows with 0, 1 and 2 zeros", "prod", lambda a: torch.prod(a, 1),
                draw(input=rows), {"dim": 1}),
        op_case("large inputs", "logsumexp", lambda a: torch.logsumexp(a, 1), draw(input=big),
                {"dim": 1}),
        op_case("infinities", "logsumexp", lambda a: torch.logsumexp(a, 1), draw(input=hidden),
                {"dim": 1}, fixed=True),
        op_case("constant input", "std", lambda a: torch.std(a, 1), draw(input=constant),
                {"dim": 1, "unbiased": True}),
        op_case("large mean", "var", lambda a: torch.var(a, 1), draw(input=offset),
                {"dim": 1, "unbiased": True}),
        op_case("one value, unbiased false", "var", lambda a: torch.var(a, 1, unbiased=False),
                draw(input=of(3, 1)), {"dim": 1, "unbiased": False}),
    ]


def extreme_cases():
    cases = []
    for op, arg in (("amax", "argmax"), ("amin", "argmin")):
        run, find = getattr(torch, op), getattr(torch, arg)
        for options in (ALL, ONE, LAST, TWO):
            call = lambda a, o=options: run(a, **dims_of(o))
            cases.append(op_case(label(options), op, call, draw(input=distinct(*SHAPE)), options))
            cases.append(op_case(f"ties, {label(options)}", op, call, draw(input=few(*SHAPE)),
                                 options))
        for options in (ALL, ONE, LAST):
            call = lambda a, o=options: find(a, **dims_of(o))
            cases.append(op_case(label(options), arg, call, draw(input=distinct(*SHAPE)), options))
            cases.append(op_case(f"ties, {label(options)}", arg, call, draw(input=few(*SHAPE)),
                                 options))
        broken = draw(input=torch.tensor([[1.0, math.nan, 3.0], [math.nan, math.nan, 0.0]]))
        cases.append(op_case("NaN", op, lambda a: run(a, 1), broken, {"dim": 1}, fixed=True))
        cases.append(op_case("NaN", arg, lambda a: find(a, 1), broken, {"dim": 1}, fixed=True))
    for op in ("max", "min"):
        run = getattr(torch, op)
        by_dim = lambda a, r=run: named(r(a, 1))
        for name, data in (("", distinct(*SHAPE)), ("ties, ", few(*SHAPE))):
            cases.append(op_case(f"{name}all", op, run, draw(input=data)))
            cases.append(op_case(f"{name}values and indices", op, by_dim, draw(input=data),
                                 {"dim": 1}))
    return cases


def flag_cases():
    flags = draw(input=torch.tensor([[True, True], [True, False], [False, False]]))
    cases = []
    for op in ("all", "any"):
        run = getattr(torch, op)
        cases.append(op_case("all dims", op, run, flags))
        cases.append(op_case("dim 1", op, lambda a, r=run: r(a, 1), flags, {"dim": 1}))
        cases.append(op_case("dim 0, keepdim", op, lambda a, r=run: r(a, 0, keepdim=True), flags,
                             {"dim": 0, "keepdim": True}))
    return cases


def empty_cases():
    """Reductions over nothing: the neutral element, or NaN for a mean."""
    empty = draw(input=torch.zeros(0, 3))
    rows = [("sum", torch.sum), ("prod", torch.prod), ("mean", torch.mean)]
    cases = [
        op_case("empty dim", op, lambda a, r=run: r(a, 0), empty, {"dim": 0}) for op, run in rows
    ]
    cases += [op_case("empty, all", op, run, empty) for op, run in rows]
    flags = draw(input=torch.zeros(0, 3, dtype=torch.bool))
    return cases + [
        op_case("other dim of an empty tensor", "sum", lambda a: a.sum(1), empty, {"dim": 1}),
        op_case("empty", "all", torch.all, flags),
        op_case("empty", "any", torch.any, flags),
    ]


def order_cases():
    def sort(**options):
        return lambda a: named(torch.sort(a, stable=True, **options))

    def topk(k, **options):
        return lambda a: named(torch.topk(a, k, **options))

    return [
        op_case("last dim", "sort", sort(), draw(input=distinct(3, 5)), {}),
        op_case("dim 0", "sort", sort(dim=0), draw(input=distinct(5, 2)), {"dim": 0}),
        op_case("descending", "sort", sort(descending=True), draw(input=distinct(2, 7)),
                {"descending": True}),
        op_case("ties keep their order", "sort", sort(), draw(input=few(2, 8)), {"stable": True}),
        op_case("ties keep their order, descending", "sort", sort(descending=True),
                draw(input=few(2, 8)), {"stable": True, "descending": True}),
        op_case("NaN last", "sort", sort(),
                draw(input=torch.tensor([3.0, math.nan, -math.inf, math.inf, 1.0])), {},
                fixed=True),
        op_case("k 2", "topk", topk(2), draw(input=distinct(3, 5)), {"k": 2}),
        op_case("smallest", "topk", topk(3, largest=False), draw(input=distinct(2, 6)),
                {"k": 3, "largest": False}),
        op_case("dim 0", "topk", topk(2, dim=0), draw(input=distinct(4, 3)), {"k": 2, "dim": 0}),
        op_case("k is the size", "topk", topk(4), draw(input=distinct(2, 4)), {"k": 4}),
    ]


def product_cases():
    shapes = [
        ("matrices", (3, 4), (4, 5)),
        ("1 by 1", (1, 1), (1, 1)),
        ("row times column", (1, 5), (5, 1)),
        ("column times row", (4, 1), (1, 3)),
        ("prime sizes", (7, 11), (11, 5)),
        ("batch", (2, 3, 4), (2, 4, 2)),
        ("batch times matrix", (2, 3, 4), (4, 2)),
        ("matrix times batch", (2, 3), (4, 3, 2)),
        ("broadcast batches", (2, 1, 3, 4), (3, 4, 2)),
        ("both batches broadcast", (2, 1, 2, 3), (1, 3, 3, 2)),
        ("vector times matrix", (3,), (3, 4)),
        ("matrix times vector", (3, 4), (4,)),
        ("vector times vector", (5,), (5,)),
        ("batch times vector", (2, 3, 4), (4,)),
        ("vector times batch", (3,), (2, 3, 4)),
        ("empty inner dim", (2, 0), (0, 3)),
        ("empty rows", (0, 3), (3, 2)),
    ]
    cases = [
        op_case(name, "matmul", torch.matmul, draw(input=of(*a), other=of(*b)))
        for name, a, b in shapes
    ]
    return cases + [
        op_case("transposed left", "matmul", lambda a, b: a.t() @ b,
                draw(input=of(4, 3), other=of(4, 5)), {"transpose": ["input"]}),
        op_case("transposed right", "matmul", lambda a, b: a @ b.t(),
                draw(input=of(3, 4), other=of(5, 4)), {"transpose": ["other"]}),
        op_case("transposed both", "matmul", lambda a, b: a.t() @ b.t(),
                draw(input=of(4, 3), other=of(5, 4)), {"transpose": ["input", "other"]}),
        op_case("vectors", "dot", torch.dot, draw(input=of(6), other=of(6))),
        op_case("vectors", "outer", torch.outer, draw(input=of(3), other=of(4))),
    ]


def cases():
    return (smooth_cases() + corner_cases() + extreme_cases() + flag_cases() + empty_cases()
            + order_cases() + product_cases())
