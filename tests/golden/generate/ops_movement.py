"""Movement: indexing, padding, joining and reordering, with the gradients that add up."""

import torch
from torch.nn import functional as F

from common import draw, of, op_case

integers = torch.tensor


def indexing_cases():
    index = {"gather": integers([[0, 2, 1], [2, 2, 0]]), "rows": integers([[1, 0, 1, 1]])}
    scatter = lambda dim: lambda a, i, s: a.scatter_add(dim, i, s)
    select = lambda dim: lambda a, i: a.index_select(dim, i)
    gather = lambda dim: lambda a, i: a.gather(dim, i)
    deep = integers([[[0, 1], [3, 3]]])
    return [
        op_case("dim 1", "gather", gather(1), draw(input=of(2, 3), index=index["gather"]),
                {"dim": 1}),
        op_case("dim 0, fewer rows", "gather", gather(0), draw(input=of(2, 4), index=index["rows"]),
                {"dim": 0}),
        op_case("dim -1 of 3, smaller index", "gather", gather(-1),
                draw(input=of(2, 3, 4), index=deep), {"dim": -1}),
        op_case("dim 1, repeated targets", "scatterAdd", scatter(1),
                draw(input=of(2, 4), index=index["gather"], source=of(2, 3)), {"dim": 1}),
        op_case("dim 0", "scatterAdd", scatter(0),
                draw(input=of(3, 4), index=index["rows"], source=of(1, 4)), {"dim": 0}),
        op_case("dim 0, repeated", "indexSelect", select(0),
                draw(input=of(4, 3), index=integers([3, 0, 3])), {"dim": 0}),
        op_case("dim 1 of 3", "indexSelect", select(1),
                draw(input=of(2, 3, 2), index=integers([2, 2, 0, 1])), {"dim": 1}),
        op_case("no index", "indexSelect", select(0),
                draw(input=of(3, 2), index=torch.zeros(0, dtype=torch.int64)), {"dim": 0}),
        op_case("classes", "oneHot", lambda i: F.one_hot(i, 4),
                draw(input=integers([[0, 3], [1, 1]])), {"numClasses": 4}),
    ]


def shape_cases():
    flip = lambda *dims: lambda a: a.flip(dims)
    rows = [
        ("last dim", "flip", flip(-1), (2, 3), {"dims": [-1]}),
        ("two dims", "flip", flip(0, 2), (2, 2, 3), {"dims": [0, 2]}),
        ("same rank", "repeat", lambda a: a.repeat(2, 3), (2, 2), {"repeats": [2, 3]}),
        ("new dims", "repeat", lambda a: a.repeat(2, 1, 2), (2, 2), {"repeats": [2, 1, 2]}),
        ("column", "expand", lambda a: a.expand(3, 4), (3, 1), {"shape": [3, 4]}),
        ("new dims", "expand", lambda a: a.expand(2, 3, 2), (3, 1), {"shape": [2, 3, 2]}),
        ("keep with -1", "expand", lambda a: a.expand(2, -1, 3), (4, 1), {"shape": [2, -1, 3]}),
        ("three dims", "permute", lambda a: a.permute(2, 0, 1), (2, 3, 4), {"dims": [2, 0, 1]}),
        ("two dims", "transpose", lambda a: a.transpose(0, -1), (2, 3, 4), {"dims": [0, -1]}),
        ("inferred size", "reshape", lambda a: a.reshape(4, -1), (2, 3, 2), {"shape": [4, -1]}),
        ("all", "squeeze", torch.squeeze, (1, 3, 1), {}),
        ("one dim", "squeeze", lambda a: a.squeeze(0), (1, 3, 1), {"dim": 0}),
        ("last dim", "unsqueeze", lambda a: a.unsqueeze(-1), (2, 3), {"dim": -1}),
        ("upper", "triu", lambda a: a.triu(1), (3, 4), {"diagonal": 1}),
        ("lower", "tril", lambda a: a.tril(), (3, 4), {}),
    ]
    cases = [op_case(name, op, run, draw(input=of(*shape)), o) for name, op, run, shape, o in rows]
    reordered = lambda a: a.permute(1, 0).reshape(6)
    return cases + [
        op_case("of a transposed tensor", "reshape", reordered, draw(input=of(2, 3)),
                {"permute": [1, 0], "shape": [6]}),
    ]


def padding_cases():
    rows = [
        ("last dim", (2, 3), [1, 2], 0),
        ("two dims, value", (2, 3), [1, 0, 2, 1], 1.5),
        ("images", (1, 2, 2, 3), [1, 1, 1, 1], 0),
        ("negative crops", (2, 5), [-1, -2], 0),
        ("mixed signs", (3, 4), [-1, 2, 1, -1], -0.5),
    ]
    return [
        op_case(name, "pad", lambda a, p=p, v=v: F.pad(a, p, value=v), draw(input=of(*shape)),
                {"padding": p, "value": v})
        for name, shape, p, v in rows
    ]


def slice_cases():
    """Options give [start, end, step] for every dimension, as Python's slices count them."""
    rows = [
        ("rows", (5, 3), [[1, 4, 1], [0, 3, 1]], lambda a: a[1:4]),
        ("step 2", (7, 2), [[0, 7, 2], [0, 2, 1]], lambda a: a[::2]),
        ("start 1, step 3", (8,), [[1, 8, 3]], lambda a: a[1::3]),
        ("two dims", (4, 5), [[1, 3, 1], [0, 5, 2]], lambda a: a[1:3, ::2]),
        ("negative bounds", (6,), [[-4, -1, 1]], lambda a: a[-4:-1]),
        ("nothing", (4, 2), [[2, 2, 1], [0, 2, 1]], lambda a: a[2:2]),
    ]
    return [
        op_case(name, "slice", run, draw(input=of(*shape)), {"ranges": ranges})
        for name, shape, ranges, run in rows
    ]


def joining_cases():
    join = lambda run, dim: lambda *parts: run(parts, dim)
    split = lambda sizes, dim: lambda a: {
        f"part{i}": part for i, part in enumerate(torch.split(a, sizes, dim))
    }
    return [
        op_case("dim 0", "cat", join(torch.cat, 0), draw(a=of(2, 3), b=of(1, 3)), {"dim": 0}),
        op_case("dim 1, three parts", "cat", join(torch.cat, 1),
                draw(a=of(2, 1), b=of(2, 3), c=of(2, 2)), {"dim": 1}),
        op_case("an empty part", "cat", join(torch.cat, -1), draw(a=of(2, 0), b=of(2, 3)),
                {"dim": -1}),
        op_case("dim 0", "stack", join(torch.stack, 0), draw(a=of(2, 3), b=of(2, 3)), {"dim": 0}),
        op_case("last dim", "stack", join(torch.stack, -1), draw(a=of(2), b=of(2), c=of(2)),
                {"dim": -1}),
        op_case("equal size, shorter rest", "split", split(2, 0), draw(input=of(5, 2)),
                {"size": 2, "dim": 0}),
        op_case("listed sizes", "split", split([1, 3], 1), draw(input=of(2, 4)),
                {"size": [1, 3], "dim": 1}),
    ]


def cases():
    return (indexing_cases() + shape_cases() + padding_cases() + slice_cases() + joining_cases())
