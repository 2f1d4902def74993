"""Puts the layers for Linux CPUs in place of a network's own, where they give what it gives."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.cache import make_prompt_cache

from mlx_worker.cpu_network.attention import BLOCK, CpuAttention
from mlx_worker.cpu_network.feed_forward import CpuFeedForward
from mlx_worker.cpu_network.linear import PackedLinear, panels_pay
from mlx_worker.slices import Slices, at_once

ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "rope"})
FEED_FORWARD = frozenset({"gate_proj", "up_proj", "down_proj"})
# How far logits may be apart, absolutely and relatively: the order of sums differs, nothing else.
TOLERANCE = 1e-3
# Memory for weights that lie in two ways, so that a few rows go fast as well as many.
PANEL_BYTES = 2**30


def rewrite(network: Any) -> int:
    """As `rewrite_in_slices`, without a pause."""
    return at_once(rewrite_in_slices(network))


def rewrite_in_slices(network: Any, panel_bytes: int | None = None) -> Slices[int]:
    """Returns how many modules were replaced: 0, and nothing is changed, when the results would differ.

    For networks in float32. A module is replaced when it has just the layers of Llama's, not quantized and
    without adapters; whether it also computes the same is tried out. `panel_bytes` bounds the memory for
    panels, by default `PANEL_BYTES`.
    """
    before = yield from probe(network)
    found = [
        (layer, name, make(layer[name]))
        for layer in layers_of(network)
        for name, matches, make in (
            ("self_attn", is_attention, CpuAttention),
            ("mlp", is_feed_forward, CpuFeedForward),
        )
        if name in layer and matches(layer[name])
    ]
    own = [(layer, name, layer[name]) for layer, name, _ in found]
    put(found)
    for _, _, module in found:
        mx.eval(module.parameters())
        yield
    most_bytes = PANEL_BYTES if panel_bytes is None else panel_bytes
    yield from add_panels([module for _, _, module in found], most_bytes)
    if not found or (yield from agrees(network, before)):
        return len(found)
    put(own)
    return 0


def add_panels(modules: list[nn.Module], most_bytes: int) -> Slices[None]:
    """Gives weights panels where they are faster, as long as there is memory for them."""
    left, pays = most_bytes, dict[tuple[int, ...], bool]()
    for linear in (child for module in modules for child in module.children().values()):
        width = linear.width if isinstance(linear, PackedLinear) else None
        if width is None or linear.weight.nbytes > left or not pays.get(linear.weight.shape, True):
            continue
        linear.add_panels(width)
        if linear.weight.shape not in pays:
            pays[linear.weight.shape] = panels_pay(linear)
        if pays[linear.weight.shape]:
            mx.eval(linear.panels)
            left -= linear.weight.nbytes
        else:
            linear.drop_panels()
        yield


def layers_of(network: Any) -> list[nn.Module]:
    """The network's blocks."""
    layers = getattr(network, "layers", None)
    return [layer for layer in layers if isinstance(layer, nn.Module)] if isinstance(layers, list) else []


def put(modules: list[tuple[nn.Module, str, nn.Module]]) -> None:
    """Sets each module in its layer."""
    for layer, name, module in modules:
        setattr(layer, name, module)


def is_attention(module: Any) -> bool:
    """Whether it has the layers and numbers of Llama's attention, and no other."""
    numbers = ("n_heads", "n_kv_heads", "scale")
    return has_linears(module, ATTENTION, {"rope"}) and all(hasattr(module, name) for name in numbers)


def is_feed_forward(module: Any) -> bool:
    """Whether it has the layers of Llama's MLP, and no other."""
    return has_linears(module, FEED_FORWARD, set())


def has_linears(module: Any, names: frozenset[str], others: set[str]) -> bool:
    """Whether these are all of its children, each a plain linear layer but the others."""
    children = module.children() if isinstance(module, nn.Module) else {}
    return set(children) == names and all(type(children[name]) is nn.Linear for name in names - others)


def probe(network: Any) -> Slices[list[mx.array]]:
    """Logits of a prompt in two chunks, and of a step of two rows of which one is padded."""
    caches = make_prompt_cache(network)
    tokens = [1 + index % 7 for index in range(2 * BLOCK + 3)]
    logits = []
    for part in (tokens[:-9], tokens[-9:]):
        logits.append(network(mx.array([part]), cache=caches))
        mx.eval(logits)
        yield
    short = make_prompt_cache(network)
    network(mx.array([tokens[:5]]), cache=short)
    if all(hasattr(cache, "merge") for cache in caches):
        both = [one.merge([one, other]) for one, other in zip(caches, short, strict=True)]
        logits.append(network(mx.array([[3], [4]]), cache=both))
    mx.eval(logits)
    return logits


def agrees(network: Any, before: list[mx.array]) -> Slices[bool]:
    """Whether the network's results are those before, within the tolerance."""
    try:
        after = yield from probe(network)
    except Exception:
        return False
    pairs = zip(before, after, strict=True)
    return all(bool(mx.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE).item()) for a, b in pairs)
