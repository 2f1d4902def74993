"""The last layer of a network, for the last token of a prompt only.

Of what comes out of the last layer only the last token's is looked at; of the other tokens it needs no more
than keys and values. Its attention and MLP then give the last token's result alone, which MLX adds to every
token's residual: right for the last one, and never looked at for the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache

from mlx_worker.cpu_network.attention import CpuAttention
from mlx_worker.cpu_network.feed_forward import CpuFeedForward

FIRST, REST = [1, 2, 3], [4, 5, 6, 7, 8]
TOLERANCE = 1e-3


def last_parts(network: Any) -> list[CpuAttention | CpuFeedForward]:
    """The parts of the last layer that can do so; none when the result would differ. It is tried out."""
    layers = getattr(network, "layers", None)
    if not isinstance(layers, list) or not layers:
        return []
    parts = [getattr(layers[-1], name, None) for name in ("self_attn", "mlp")]
    found = [part for part in parts if isinstance(part, CpuAttention | CpuFeedForward)]
    try:
        return found if agrees(network, found) else []
    except Exception:
        return []


@contextmanager
def only_last(parts: list[CpuAttention | CpuFeedForward]) -> Iterator[None]:
    """What is put together meanwhile is right for the last token only."""
    for part in parts:
        part.only_last = True
    try:
        yield
    finally:
        for part in parts:
            part.only_last = False


def agrees(network: Any, parts: list[CpuAttention | CpuFeedForward]) -> bool:
    """Whether the last logits, and the next ones, are the same in both ways."""
    results = []
    for some in ([], parts):
        caches = make_prompt_cache(network)
        network(mx.array([FIRST]), cache=caches)
        with only_last(some):
            last = network(mx.array([REST]), cache=caches)[:, -1]
        results.append(mx.concatenate([last, network(mx.array([[9]]), cache=caches)[:, -1]]))
    whole, last_only = results
    return bool(mx.allclose(whole, last_only, rtol=TOLERANCE, atol=TOLERANCE).item())
