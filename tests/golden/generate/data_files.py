"""data_files.json: files of NumPy, Pillow and tarfile, with what they hold.

Bytes are base64; `npy` files are packed with zlib first.
"""

import base64
import gzip
import io
import json
import tarfile
import zlib

import numpy as np
from PIL import Image

from common import FOLDER

DTYPES = "<f2 <f4 <f8 >f2 >f4 >f8 i1 <i2 <i4 <i8 >i2 >i4 >i8 u1 <u2 <u4 <u8 >u8 ?".split()


def text(data):
    return base64.b64encode(data).decode()


def npy(array, version=None):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return text(zlib.compress(file.getvalue(), 9))


def npy_files():
    files = {}
    for dtype in DTYPES:
        kind = np.dtype(dtype).kind
        values = np.arange(6).reshape(2, 3) - (2 if kind in "if" else 0)
        files[dtype] = npy((values * 0.5 if kind == "f" else values).astype(dtype))
    three = np.arange(3, dtype="<f4")
    files["column-major"] = npy(np.asfortranarray(np.arange(24, dtype="<i4").reshape(2, 3, 4)))
    files["scalar"] = npy(np.array(7.25))
    files["version 2.0"] = npy(three, (2, 0))
    files["version 3.0"] = npy(three, (3, 0))
    files["empty"] = npy(np.zeros((0, 3), "<f4"))
    files["record"] = npy(np.zeros(2, [("a", "<f4"), ("b", "<i4")]))
    files["object"] = npy(np.array([1, "a"], dtype=object))
    files["text"] = npy(np.array(["ab", "c"]))
    files["complex"] = npy(np.array([1 + 2j]))
    return files


def npz_files():
    weight = np.arange(6, dtype="<f4").reshape(2, 3) / 4
    stored, packed = io.BytesIO(), io.BytesIO()
    np.savez(stored, weight=weight, bias=np.array([-1, 2], dtype=">i8"))
    np.savez_compressed(packed, weight=weight, zero=np.zeros((50, 50)))
    return {"stored": text(stored.getvalue()), "packed": text(packed.getvalue())}


def picture(image, kind, values, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    height, width, channels = values.shape
    return {
        "file": text(file.getvalue()),
        "shape": [height, width, channels],
        "values": text(zlib.compress(values.astype(np.uint8).tobytes(), 9)),
    }


def png_files():
    grey = (np.add.outer(np.arange(5) * 40, np.arange(7) * 9) % 256).astype(np.uint8)
    rgb = np.stack([grey, 255 - grey, grey // 2], -1)
    alpha = (grey // 3 + 100)[..., None]
    rgba = np.concatenate([rgb, alpha], -1)
    layers = [Image.fromarray(grey), Image.fromarray(255 - grey)]
    palette = Image.fromarray(rgb).quantize(16)
    clear = Image.fromarray(rgb).quantize(4)
    clear.info["transparency"] = 1
    wide = grey.astype(np.uint16) * 257
    wide[0, 0] = 300
    key = np.where((rgb == rgb[0, 0]).all(-1), 0, 255)[..., None]
    first = tuple(int(value) for value in rgb[0, 0])
    return {
        "grey": picture(layers[0], "PNG", grey[..., None]),
        "grey and alpha": picture(Image.merge("LA", layers), "PNG", np.stack([grey, 255 - grey], -1)),
        "rgb": picture(Image.fromarray(rgb), "PNG", rgb),
        "rgb and alpha": picture(Image.fromarray(rgba), "PNG", rgba),
        "palette of 4 bits": picture(palette, "PNG", np.array(palette.convert("RGB")), bits=4),
        "palette and alpha": picture(clear, "PNG", np.array(clear.convert("RGBA")), transparency=1),
        "1 bit": picture(Image.fromarray(grey > 100), "PNG", ((grey > 100) * 255)[..., None]),
        "16 bits": picture(Image.fromarray(wide), "PNG", np.round(wide / 257)[..., None]),
        "colour key": picture(
            Image.fromarray(rgb), "PNG", np.concatenate([rgb, key], -1), transparency=first
        ),
    }, text(np.array(Image.fromarray(rgb).convert("L")).tobytes())


def jpeg_files():
    y, x = np.mgrid[0:24, 0:32]
    waves = [128 + 100 * np.sin(x / 9), 128 + 90 * np.cos(y / 7), x * 3 + y * 4]
    smooth = np.stack(waves, -1).clip(0, 255).astype(np.uint8)
    kinds = {
        "full colour": (smooth, dict(quality=90, subsampling=0)),
        "half colour": (smooth, dict(quality=85, subsampling=2)),
        "progressive": (smooth, dict(quality=90, subsampling=0, progressive=True)),
        "grey": (smooth[..., 0], dict(quality=90)),
    }
    files = {}
    for name, (values, options) in kinds.items():
        file = io.BytesIO()
        Image.fromarray(values).save(file, "JPEG", **options)
        decoded = np.array(Image.open(file).convert("RGB"))
        files[name] = picture(Image.fromarray(values), "JPEG", decoded, **options)
    return files


def resized():
    source = np.random.RandomState(3).randint(0, 256, (9, 13, 3)).astype(np.uint8)
    cases = []
    for height, width in [(4, 5), (9, 6), (20, 17), (1, 1)]:
        result = np.array(Image.fromarray(source).resize((width, height), Image.BILINEAR))
        cases.append({"height": height, "width": width, "values": text(result.tobytes())})
    return {"shape": [9, 13, 3], "values": text(source.tobytes()), "cases": cases}


def cifar_archive():
    def record(label, step):
        return bytes([label]) + bytes((np.arange(3072) * (step + 1) // 64 % 256).astype(np.uint8))

    files = {f"data_batch_{i}.bin": record(i, i) + record(i + 4, i + 10) for i in range(1, 6)}
    files["test_batch.bin"] = record(3, 7)
    files["readme.html"] = b"<html>"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folder = tarfile.TarInfo("cifar-10-batches-bin")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{folder.name}/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return text(gzip.compress(packed.getvalue(), 9, mtime=0))


def generate():
    png, grey = png_files()
    sections = {
        "numpy": np.__version__,
        "npy": npy_files(),
        "npz": npz_files(),
        "png": png,
        "greyOfRgb": grey,
        "jpeg": jpeg_files(),
        "resize": resized(),
        "cifar10": cifar_archive(),
    }
    parts = [f"{json.dumps(key)}:{json.dumps(value)}" for key, value in sections.items()]
    with open(f"{FOLDER}/data_files.json", "w", encoding="utf-8") as out:
        out.write("{" + ",\n".join(parts) + "}\n")
    print(f"data_files.json: {sum(map(len, parts))} bytes")
