"""attention.json: attention of several heads and layers of transformers, with masks.

Modules run in training mode without dropout, and in evaluation mode; both give the same numbers.
Bool masks are true where a position is left out, as torch.nn.MultiheadAttention has it.
"""

import copy

import torch
from torch import nn

from common import Source, encode, encode_all, leaf, record, snake, write

EMBED, HEADS, BATCH, LENGTH, KEYS = 6, 2, 2, 4, 5
OPTIONS = {"dimFeedforward": 7, "dropout": 0.0}


def randomized(source, module):
    """The module in float64, with parameters that are short decimals."""
    state = {}
    for name, tensor in module.state_dict().items():
        low, high = (0.5, 1.5) if "norm" in name and name.endswith("weight") else (-0.8, 0.8)
        state[name] = source.uniform(*tensor.shape, low=low, high=high)
    module.load_state_dict(state)
    return module.double(), state


def module_case(name, layer, module, args, options, inputs, run, masks=None, mode="train"):
    """`run(module, *inputs, **masks)` gives the output; masks get no gradient."""
    name = f"{layer}: {name}"
    source = Source(name)
    module, state = randomized(source, module)
    module.train(mode == "train")
    drawn = {key: source.uniform(*shape, low=-1.0, high=1.0) for key, shape in inputs.items()}
    leaves = {key: leaf(value) for key, value in drawn.items()}
    masks = masks or {}
    call = {k: v.double() if v.is_floating_point() else v for k, v in masks.items()}
    output = run(module, *leaves.values(), **snake(call))
    return {
        "name": name,
        "layer": layer,
        "training": mode == "train",
        "args": args,
        "options": options,
        "params": encode_all(state),
        "masks": encode_all(masks),
        "inputs": encode_all(drawn),
        **record(source, {**leaves, **dict(module.named_parameters())}, {"output": output}),
    }


def causal(length):
    return torch.ones(length, length).triu(1).bool()


def padding(length):
    """The last positions of the second sequence."""
    mask = torch.zeros(BATCH, length, dtype=torch.bool)
    mask[1, length - 2:] = True
    return mask


def attention(name, options, inputs, masks=None):
    module = nn.MultiheadAttention(EMBED, HEADS, **snake(options))
    count = len(inputs)

    def run(m, query, key=None, value=None, **masks):
        key = query if key is None else key
        value = key if count < 3 else value
        return m(query, key, value, need_weights=False, **masks)[0]

    return module_case(name, "MultiheadAttention", module, [EMBED, HEADS], options, inputs, run,
                       masks)


def attention_cases():
    first = {"batchFirst": True}
    own = {"query": (BATCH, LENGTH, EMBED)}
    other = {**own, "key": (BATCH, KEYS, EMBED)}
    source = Source("masks")
    added = source.uniform(LENGTH, LENGTH)
    each = source.flags(BATCH * HEADS, LENGTH, KEYS)
    each[:, :, 0] = False
    return [
        attention("itself", first, own),
        attention("itself, no bias", {**first, "bias": False}, own),
        attention("itself, sequence first", {}, {"query": (LENGTH, BATCH, EMBED)}),
        attention("itself, no batch", {}, {"query": (LENGTH, EMBED)}),
        attention("itself, causal", first, own, {"attnMask": causal(LENGTH)}),
        attention("itself, float mask", first, own, {"attnMask": added}),
        attention("itself, padding", first, own, {"keyPaddingMask": padding(LENGTH)}),
        attention("itself, causal and padding", first, own,
                  {"attnMask": causal(LENGTH), "keyPaddingMask": padding(LENGTH)}),
        attention("another", first, other),
        attention("another, a mask for each head", first, other, {"attnMask": each}),
        attention("two others", first, {**other, "value": (BATCH, KEYS, EMBED)}),
        attention("sizes, sequence first", {"kdim": 3, "vdim": 5},
                  {"query": (LENGTH, BATCH, EMBED), "key": (KEYS, BATCH, 3),
                   "value": (KEYS, BATCH, 5)},
                  {"keyPaddingMask": padding(KEYS)}),
    ]


def layer_of(cls, options):
    return cls(EMBED, HEADS, **snake(options))


def encoder(name, extra, masks=None, mode="train", batch_first=True):
    options = {**OPTIONS, "batchFirst": batch_first, **extra}
    shape = (BATCH, LENGTH, EMBED) if batch_first else (LENGTH, BATCH, EMBED)
    module = layer_of(nn.TransformerEncoderLayer, options)
    return module_case(name, "TransformerEncoderLayer", module, [EMBED, HEADS], options,
                       {"src": shape}, lambda m, x, **masks: m(x, **masks), masks, mode)


def decoder(name, extra, masks=None):
    options = {**OPTIONS, "batchFirst": True, **extra}
    module = layer_of(nn.TransformerDecoderLayer, options)
    inputs = {"tgt": (BATCH, LENGTH, EMBED), "memory": (BATCH, KEYS, EMBED)}
    return module_case(name, "TransformerDecoderLayer", module, [EMBED, HEADS], options, inputs,
                       lambda m, x, y, **masks: m(x, y, **masks), masks)


def layer_cases():
    gelu = {"activation": "gelu", "normFirst": True}
    return [
        encoder("plain", {}),
        encoder("plain, evaluation", {}, mode="eval"),
        encoder("sequence first", {}, batch_first=False),
        encoder("gelu, norm first", gelu),
        encoder("masks", {}, {"srcMask": causal(LENGTH),
                              "srcKeyPaddingMask": padding(LENGTH)}),
        encoder("layerNormEps", {"layerNormEps": 0.1}),
        decoder("plain", {}),
        decoder("gelu, norm first", gelu),
        decoder("masks", {}, {"tgtMask": causal(LENGTH),
                              "tgtKeyPaddingMask": padding(LENGTH),
                              "memoryKeyPaddingMask": padding(KEYS)}),
    ]


def stack_cases():
    options = {**OPTIONS, "batchFirst": True}
    encoders = nn.TransformerEncoder(layer_of(nn.TransformerEncoderLayer, options), 2,
                                     nn.LayerNorm(EMBED), enable_nested_tensor=False)
    decoders = nn.TransformerDecoder(layer_of(nn.TransformerDecoderLayer, options), 2)
    return [
        module_case("two layers, norm", "TransformerEncoder", encoders, [2], options,
                    {"src": (BATCH, LENGTH, EMBED)}, lambda m, x, **masks: m(x, **masks)),
        module_case("two layers", "TransformerDecoder", copy.deepcopy(decoders), [2], options,
                    {"tgt": (BATCH, LENGTH, EMBED), "memory": (BATCH, KEYS, EMBED)},
                    lambda m, x, y, **masks: m(x, y, **masks),
                    {"tgtMask": causal(LENGTH)}),
    ]


def product(name, shapes, mask=None, scale=None, is_causal=False):
    """softmax(q kᵀ scale + mask) v by its definition; a bool mask is true where a key takes part."""
    source = Source(f"scaledDotProductAttention: {name}")
    drawn = {key: source.uniform(*shape) for key, shape in zip("qkv", shapes)}
    leaves = {key: leaf(value) for key, value in drawn.items()}
    q, k, v = leaves.values()
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = (scores + mask.double() if mask.is_floating_point()
                  else scores.masked_fill(~mask, float("-inf")))
    if is_causal:
        allowed = torch.ones(scores.shape[-2:]).tril().bool()
        scores = scores.masked_fill(~allowed, float("-inf"))
    output = scores.softmax(-1) @ v
    options = {} if scale is None else {"scale": scale}
    if is_causal:
        options["causal"] = True
    return {
        "name": f"scaledDotProductAttention: {name}",
        "options": options,
        "masks": {} if mask is None else {"mask": encode(mask)},
        "inputs": encode_all(drawn),
        **record(source, leaves, {"output": output}),
    }


def product_cases():
    source = Source("product masks")
    flags = source.flags(3, 5)
    flags[:, 1] = True
    return [
        product("plain", [(2, 3, 4), (2, 5, 4), (2, 5, 3)]),
        product("scale, broadcast batch", [(2, 2, 3, 4), (1, 5, 4), (2, 1, 5, 2)], scale=0.3),
        product("causal, more queries", [(5, 3), (3, 3), (3, 2)], is_causal=True),
        product("causal, more keys", [(2, 3), (4, 3), (4, 2)], is_causal=True),
        product("bool mask", [(2, 3, 4), (2, 5, 4), (2, 5, 3)], mask=flags),
        product("float mask for each", [(2, 3, 4), (2, 5, 4), (2, 5, 3)],
                mask=source.uniform(2, 3, 5)),
    ]


def generate():
    write("attention.json", {
        "products": product_cases(),
        "modules": attention_cases() + layer_cases() + stack_cases(),
    })
