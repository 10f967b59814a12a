"""Pointwise ops: smooth ranges, broadcasting, and the corners where a gradient is a choice."""

import math

import torch

from common import draw, of, op_case

INF, NAN = math.inf, math.nan


def unary_cases():
    rows = [
        ("neg", torch.neg, (-3, 3)),
        ("abs", torch.abs, (-3, 3)),
        ("sign", torch.sign, (-3, 3)),
        ("square", torch.square, (-3, 3)),
        ("reciprocal", torch.reciprocal, (0.2, 3)),
        ("sqrt", torch.sqrt, (0.05, 9)),
        ("rsqrt", torch.rsqrt, (0.05, 9)),
        ("exp", torch.exp, (-5, 5)),
        ("exp2", torch.exp2, (-5, 5)),
        ("expm1", torch.expm1, (-3, 3)),
        ("log", torch.log, (0.01, 9)),
        ("log2", torch.log2, (0.01, 9)),
        ("log10", torch.log10, (0.01, 9)),
        ("log1p", torch.log1p, (-0.95, 9)),
        ("sin", torch.sin, (-6, 6)),
        ("cos", torch.cos, (-6, 6)),
        ("tan", torch.tan, (-1.4, 1.4)),
        ("asin", torch.asin, (-0.95, 0.95)),
        ("acos", torch.acos, (-0.95, 0.95)),
        ("atan", torch.atan, (-5, 5)),
        ("sinh", torch.sinh, (-3, 3)),
        ("cosh", torch.cosh, (-3, 3)),
        ("tanh", torch.tanh, (-3, 3)),
        ("asinh", torch.asinh, (-5, 5)),
        ("acosh", torch.acosh, (1.1, 6)),
        ("atanh", torch.atanh, (-0.95, 0.95)),
        ("erf", torch.erf, (-3, 3)),
        ("erfc", torch.erfc, (-3, 3)),
        ("sigmoid", torch.sigmoid, (-6, 6)),
        ("floor", torch.floor, (-4, 4)),
        ("ceil", torch.ceil, (-4, 4)),
        ("trunc", torch.trunc, (-4, 4)),
        ("round", torch.round, (-4, 4)),
        ("frac", torch.frac, (-4, 4)),
    ]
    return [
        op_case("range", op, run, draw(input=of(3, 4, low=low, high=high)))
        for op, run, (low, high) in rows
    ]


def unary_corner_cases():
    rows = [
        ("zero", "abs", torch.abs, [0.0, -0.0]),
        ("zero", "sign", torch.sign, [0.0, -0.0, 1e-20]),
        ("tiny inputs", "expm1", torch.expm1, [1e-3, -1e-5, 1e-8, -1e-12, 1e-20, 0.0]),
        ("tiny inputs", "log1p", torch.log1p, [1e-3, -1e-5, 1e-8, -1e-12, 1e-20, 0.0]),
        ("tiny inputs", "tanh", torch.tanh, [1e-3, -1e-5, 5e-8, -1e-12, 1e-20, 0.0]),
        ("tiny inputs", "erf", torch.erf, [1e-3, -1e-5, 5e-8, -1e-12, 1e-20, 0.0]),
        ("tiny inputs", "sinh", torch.sinh, [1e-3, -1e-5, 5e-8, -1e-12, 1e-20, 0.0]),
        ("tiny inputs", "asinh", torch.asinh, [1e-3, -1e-5, 5e-8, -1e-12, 1e-20, 0.0]),
        ("tiny inputs", "atanh", torch.atanh, [1e-3, -1e-5, 5e-8, -1e-12, 1e-20, 0.0]),
        ("large inputs", "tanh", torch.tanh, [1000.0, -1000.0, 20.0, -20.0]),
        ("large inputs", "sigmoid", torch.sigmoid, [1000.0, -1000.0, 40.0, -40.0, 80.0, -80.0]),
        ("large inputs", "erf", torch.erf, [10.0, -10.0, 4.0, -4.0]),
        ("large inputs", "exp", torch.exp, [80.0, -80.0, 88.5, -85.0]),
        ("halves", "round", torch.round, [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5]),
    ]
    cases = [
        op_case(name, op, run, draw(input=torch.tensor(values))) for name, op, run, values in rows
    ]
    special = torch.tensor([NAN, INF, -INF, 1.0])
    for op in ("exp", "log", "sqrt", "tanh", "sigmoid", "abs", "neg", "relu", "sign", "floor"):
        run = getattr(torch, op)
        cases.append(op_case("NaN and infinities", op, run, draw(input=special), fixed=True))
    for op in ("isnan", "isinf", "isfinite"):
        cases.append(op_case("special values", op, getattr(torch, op), draw(input=special)))
    return cases


def binary_cases():
    rows = [
        ("add", torch.add, {}, {}),
        ("sub", torch.sub, {}, {}),
        ("mul", torch.mul, {}, {}),
        ("div", torch.div, {}, {"low": 0.3, "high": 3.0}),
        ("pow", torch.pow, {"low": 0.2, "high": 3.0}, {}),
        ("atan2", torch.atan2, {}, {}),
        ("maximum", torch.maximum, {}, {}),
        ("minimum", torch.minimum, {}, {}),
    ]
    shapes = [
        ("same shape", (3, 4), (3, 4)),
        ("row", (3, 4), (4,)),
        ("column", (3, 4), (3, 1)),
        ("both broadcast", (3, 1, 4), (2, 1)),
        ("scalar tensor", (2, 3), ()),
    ]
    return [
        op_case(name, op, run, draw(input=of(*a, **left), other=of(*b, **right)))
        for op, run, left, right in rows
        for name, a, b in shapes
    ]


def pair(a, b):
    return draw(input=torch.tensor(a), other=torch.tensor(b))


def binary_corner_cases():
    one = torch.tensor
    broken = pair([NAN, 1.0, NAN], [1.0, NAN, NAN])
    cases = [
        op_case("ties share the gradient", "maximum", torch.maximum, pair([1.0, 2.0], [1.0, 0.0])),
        op_case("ties share the gradient", "minimum", torch.minimum, pair([1.0, 2.0], [1.0, 0.0])),
        op_case("NaN", "maximum", torch.maximum, broken, fixed=True),
        op_case("NaN", "minimum", torch.minimum, broken, fixed=True),
        op_case("all quadrants and axes", "atan2", torch.atan2,
                pair([1.0, 1.0, -1.0, -1.0, 0.0, 1.0, -1.0, 0.0],
                     [1.0, -1.0, 1.0, -1.0, 1.0, 0.0, 0.0, -1.0])),
        op_case("negative base, whole exponent", "pow", torch.pow,
                pair([-2.0, -2.0, -1.5, -3.0, -2.0], [2.0, 3.0, 0.0, -1.0, -2.0]),
                fixed=("other",)),
        op_case("negative base, broken exponent", "pow", torch.pow,
                pair([-2.0, -1.0], [0.5, 1.5]), fixed=True),
        op_case("zero base", "pow", torch.pow, pair([0.0, 0.0, 0.0], [2.0, 1.0, 0.0])),
        op_case("division by zero", "div", torch.div, pair([1.0, -1.0, 0.0], [0.0, 0.0, 0.0]),
                fixed=True),
        op_case("signs", "remainder", torch.remainder,
                pair([5.5, -5.5, 5.5, -5.5, 6.0, -6.0], [2.0, 2.0, -2.0, -2.0, 3.0, 3.0]),
                fixed=("other",)),
        op_case("signs", "fmod", torch.fmod,
                pair([5.5, -5.5, 5.5, -5.5, 6.0, -6.0], [2.0, 2.0, -2.0, -2.0, 3.0, 3.0]),
                fixed=("other",)),
        op_case("signs", "floorDivide", lambda a, b: torch.div(a, b, rounding_mode="floor"),
                pair([5.5, -5.5, 5.5, -5.5, 6.0], [2.0, 2.0, -2.0, -2.0, 3.0]), fixed=True),
    ]
    for exponent in (2, 3, 0.5, -1, 0, 1):
        values = of(5, low=0.2, high=3.0) if exponent != 2 else of(5)
        cases.append(op_case(f"number exponent {exponent}", "pow",
                             lambda a, e=exponent: torch.pow(a, e), draw(input=values),
                             {"exponent": exponent}))
    for exponent in (2, 1, 0):
        cases.append(op_case(f"zero base, number exponent {exponent}", "pow",
                             lambda a, e=exponent: torch.pow(a, e), draw(input=one([0.0, 1.0])),
                             {"exponent": exponent}))
    integers = draw(input=one([7, -7, 0, 5]), other=one([2, 2, 3, -3]))
    for op in ("add", "sub", "mul", "maximum", "minimum"):
        cases.append(op_case("i32", op, getattr(torch, op), integers))
    return cases


def comparison_cases():
    values = pair([1.0, 2.0, 3.0, NAN, INF, -INF, 0.0], [2.0, 2.0, 2.0, NAN, INF, 1.0, -0.0])
    cases = [
        op_case("float", op, getattr(torch, op), values)
        for op in ("eq", "ne", "lt", "le", "gt", "ge")
    ]
    flags = draw(input=torch.tensor([True, True, False, False]),
                 other=torch.tensor([True, False, True, False]))
    for op, name in (("logicalAnd", "logical_and"), ("logicalOr", "logical_or"),
                     ("logicalXor", "logical_xor")):
        cases.append(op_case("bool", op, getattr(torch, name), flags))
    cases.append(op_case("bool", "logicalNot", torch.logical_not,
                         draw(input=torch.tensor([True, False]))))
    return cases


def ternary_cases():
    clamp = lambda **bounds: lambda a: torch.clamp(a, **bounds)
    edges = draw(input=torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]))
    where = lambda c, a, b: torch.where(c, a, b)
    return [
        op_case("both bounds, at the edges", "clamp", clamp(min=-1.0, max=1.0), edges,
                {"min": -1, "max": 1}),
        op_case("min alone", "clamp", clamp(min=-0.5), edges, {"min": -0.5}),
        op_case("max alone", "clamp", clamp(max=0.5), edges, {"max": 0.5}),
        op_case("min above max", "clamp", clamp(min=1.0, max=-1.0), edges, {"min": 1, "max": -1}),
        op_case("NaN", "clamp", clamp(min=-1.0, max=1.0),
                draw(input=torch.tensor([NAN, INF, -INF])), {"min": -1, "max": 1}, fixed=True),
        op_case("same shape", "where", where,
                draw(condition=lambda s: s.flags(3, 4), input=of(3, 4), other=of(3, 4))),
        op_case("broadcast", "where", where,
                draw(condition=lambda s: s.flags(3, 1), input=of(4), other=of(2, 1, 1))),
        op_case("number weight", "lerp", lambda a, b: torch.lerp(a, b, 0.3),
                draw(input=of(2, 3), end=of(2, 3)), {"weight": 0.3}),
        op_case("tensor weight", "lerp", torch.lerp,
                draw(input=of(2, 3), end=of(3), weight=of(2, 3, low=0.0, high=1.0))),
    ]


def cases():
    return (unary_cases() + unary_corner_cases() + binary_cases() + binary_corner_cases()
            + comparison_cases() + ternary_cases())
