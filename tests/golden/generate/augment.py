"""Augmentation: torch's grid_sample for turns, colorsys for hue, Pillow for bytes, formulas else.

Matrices are products of turn, shears and scale, inverted by torch, where the library has a closed
form; magnitudes are torchvision's tables, written with torch as it does.
"""

import colorsys
import itertools
import math

import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

import common


def image(name, channels, height, width):
    """Bytes with smooth parts, equal neighbours and extremes."""
    source = common.Source(name)
    ramp = torch.arange(height * width).reshape(1, height, width) * 200 // (height * width)
    noise = source.integers(channels, height, width, below=56)
    return (ramp + noise).unsqueeze(0)


IMAGE = image("policy", 3, 6, 7)
COLOURS = image("colours", 3, 4, 5)
GRAY = image("gray", 1, 9, 8)


def pixels(data):
    return data.double() / 255


def matrix(angle, scale=1.0, shear=(0.0, 0.0)):
    """Turn, then shear along y, then along x, as three matrices."""
    a, x, y = (math.radians(value) for value in (angle, *shear))
    turn = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    along_y = torch.tensor([[1, 0], [-math.tan(y), 1]])
    along_x = torch.tensor([[1, -math.tan(x)], [0, 1]])
    return turn.double() @ along_y.double() @ along_x.double() * scale


def warp(data, linear, shift=(0.0, 0.0), centre=(0.0, 0.0), mode="nearest", fill=0.0):
    """Pixel p of the result is at the place q with p = linear (q - centre) + centre + shift."""
    _, _, height, width = data.shape
    back = torch.linalg.inv(linear)
    centre = torch.tensor(centre).double()
    offset = centre - back @ (centre + torch.tensor(shift).double())
    half = torch.tensor([width / 2, height / 2]).double()
    theta = torch.cat([back * half / half[:, None], (offset / half)[:, None]], 1)
    grid = F.affine_grid(theta[None], data.shape, align_corners=False)
    fill = torch.tensor(fill).double().reshape(1, -1, 1, 1)
    # grid_sample pads with 0, so values are taken from the fill on.
    return F.grid_sample(data - fill, grid, mode=mode, align_corners=False) + fill


def gray(data):
    if data.shape[1] == 1:
        return data
    r, g, b = data.unbind(1)
    return (0.2989 * r + 0.587 * g + 0.114 * b).unsqueeze(1)


def blend(a, b, factor):
    return (factor * a + (1 - factor) * b).clamp(0, 1)


def hue(data, factor):
    out = data.clone()
    for y, x in itertools.product(range(data.shape[2]), range(data.shape[3])):
        h, s, v = colorsys.rgb_to_hsv(*data[0, :, y, x].tolist())
        out[0, :, y, x] = torch.tensor(colorsys.hsv_to_rgb((h + factor) % 1, s, v)).double()
    return out


def autocontrast(data):
    low = data.amin((2, 3), keepdim=True)
    high = data.amax((2, 3), keepdim=True)
    return torch.where(high > low, (data - low) / (high - low).clamp_min(1e-12), data)


def sharpness(data, factor):
    channels = data.shape[1]
    kernel = torch.ones(3, 3).double()
    kernel[1, 1] = 5
    blurred = data.clone()
    inner = F.conv2d(data, (kernel / 13).expand(channels, 1, 3, 3), groups=channels)
    blurred[..., 1:-1, 1:-1] = inner
    return blend(data, blurred, factor)


def by_pillow(data, change):
    """A change of bytes by Pillow, channel by channel."""
    levels = (data * 255).round().to(torch.uint8)
    planes = []
    for plane in levels[0]:
        height, width = plane.shape
        source = Image.frombytes("L", (width, height), bytes(plane.reshape(-1).tolist()))
        changed = torch.tensor(list(change(source).getdata()))
        planes.append(changed.reshape(height, width).double() / 255)
    return torch.stack(planes).unsqueeze(0)


CHANGES = {
    "brightness": lambda x, f: (x * f).clamp(0, 1),
    "contrast": lambda x, f: blend(x, gray(x).mean(), f),
    "saturation": lambda x, f: blend(x, gray(x), f),
    "hue": hue,
    "grayscale": lambda x, f: gray(x).expand_as(x),
    "invert": lambda x, f: 1 - x,
    "posterize": lambda x, f: by_pillow(x, lambda i: ImageOps.posterize(i, int(f))),
    "solarize": lambda x, f: by_pillow(x, lambda i: ImageOps.solarize(i, math.ceil(f))),
    "autocontrast": lambda x, f: autocontrast(x),
    "equalize": lambda x, f: by_pillow(x, ImageOps.equalize),
    "sharpness": sharpness,
}


def warp_cases():
    numbers = [
        ("turn", 33.0, 0, 0, 1.0, 0.0, 0.0),
        ("shift", 0.0, 2, -1, 1.0, 0.0, 0.0),
        ("scale", 0.0, 0, 0, 0.61, 0.0, 0.0),
        ("shears", 0.0, 0, 0, 1.0, 17.0, -9.0),
        ("all", -71.5, -1, 2, 1.37, 12.0, 21.0),
    ]
    cases = []
    for name, angle, tx, ty, scale, sx, sy in numbers:
        for mode, fill in (("nearest", 0.0), ("bilinear", 0.0), ("bilinear", [0.25, 0.5, 1.0])):
            linear = matrix(angle, scale, (sx, sy))
            out = warp(pixels(IMAGE), linear, (tx, ty), mode=mode, fill=fill)
            cases.append({
                "name": f"{name}, {mode}, fill {fill}",
                "numbers": [angle, tx, ty, scale, sx, sy],
                "bilinear": mode == "bilinear",
                "fill": fill if isinstance(fill, list) else [fill],
                "output": common.encode(out),
            })
    return cases


def change_cases():
    strengths = {
        "brightness": [0.3, 1.7], "contrast": [0.2, 1.9], "saturation": [0.0, 1.8],
        "hue": [-0.5, -0.21, 0.13, 0.4], "posterize": [1, 4, 7], "solarize": [0, 100, 255],
        "sharpness": [0.0, 0.4, 1.9],
    }
    cases = []
    for (name, change), (kind, data) in itertools.product(
        CHANGES.items(), (("colours", COLOURS), ("gray", GRAY))
    ):
        for strength in strengths.get(name, [0]):
            out = pixels(data) if kind == "gray" and name == "hue" else change(pixels(data), strength)
            cases.append({
                "name": f"{name} {strength}, {kind}", "change": name, "strength": strength,
                "input": kind, "output": common.encode(out.double()),
            })
    return cases


def jitter_cases():
    names = ["brightness", "contrast", "saturation", "hue"]
    cases = []
    for number, order in enumerate(itertools.permutations(range(4))):
        source = common.Source(f"jitter {number}")
        factors = [*source.uniform(3, low=0.5, high=1.6).double().tolist(),
                   *source.uniform(1, low=-0.4, high=0.4).double().tolist()]
        out = pixels(COLOURS)
        for which in order:
            out = CHANGES[names[which]](out, factors[which])
        cases.append({
            "name": f"order {number}", "order": number, "factors": factors,
            "output": common.encode(out),
        })
    return cases


def magnitudes(policy, bins, height, width):
    """torchvision's tables: magnitudes and whether they are signed."""
    rand = policy == "randAugment"
    line = lambda last: torch.linspace(0.0, last, bins)
    factor = (line(0.9 if rand else 0.99), True)
    posterize = 8 - (torch.arange(bins) / ((bins - 1) / (4 if rand else 6))).round().int()
    nothing = (torch.zeros(bins), False)
    return {
        "Identity": nothing,
        "ShearX": (line(0.3 if rand else 0.99), True),
        "ShearY": (line(0.3 if rand else 0.99), True),
        "TranslateX": (line(150.0 / 331.0 * width if rand else 32.0), True),
        "TranslateY": (line(150.0 / 331.0 * height if rand else 32.0), True),
        "Rotate": (line(30.0 if rand else 135.0), True),
        "Brightness": factor, "Color": factor, "Contrast": factor, "Sharpness": factor,
        "Posterize": (posterize, False),
        "Solarize": (torch.linspace(255.0, 0.0, bins), False),
        "AutoContrast": nothing,
        "Equalize": nothing,
    }


def apply_op(data, op, value):
    """torchvision's _apply_op on an image of floats."""
    _, _, height, width = data.shape
    corner = (-width / 2, -height / 2)
    lean = math.degrees(math.atan(value))
    if op == "Identity":
        return data
    if op == "ShearX":
        return warp(data, matrix(0, shear=(lean, 0.0)), centre=corner)
    if op == "ShearY":
        return warp(data, matrix(0, shear=(0.0, lean)), centre=corner)
    if op == "TranslateX":
        return warp(data, matrix(0), (int(value), 0))
    if op == "TranslateY":
        return warp(data, matrix(0), (0, int(value)))
    if op == "Rotate":
        return warp(data, matrix(-value))
    names = {"Color": "saturation", "AutoContrast": "autocontrast"}
    change = CHANGES[names.get(op, op.lower())]
    enhance = op in ("Brightness", "Color", "Contrast", "Sharpness")
    return change(data, 1 + value if enhance else value)


def policy_cases():
    cases = []
    for policy, chosen in (("randAugment", (9, 30)), ("trivialAugmentWide", (3, 17))):
        tables = magnitudes(policy, 31, *IMAGE.shape[2:])
        for number, (op, (table, signed)) in enumerate(tables.items()):
            for at, sign in itertools.product(chosen, (1, -1) if signed else (1,)):
                out = apply_op(pixels(IMAGE), op, sign * float(table[at]))
                cases.append({
                    "name": f"{policy} {op} {at * sign}", "policy": policy, "op": op,
                    "number": number, "bin": at, "negative": sign < 0,
                    "output": common.encode(out),
                })
    return cases


def generate():
    common.write("augment.json", {
        "warp": warp_cases(),
        "change": change_cases(),
        "jitter": jitter_cases(),
        "policy": policy_cases(),
    }, images={"policy": common.encode(IMAGE), "colours": common.encode(COLOURS),
               "gray": common.encode(GRAY)})
