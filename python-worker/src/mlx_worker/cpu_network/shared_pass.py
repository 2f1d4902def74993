"""One pass of a network for a piece of a prompt and for the rows that decode.

A pass costs the same fixed time, for reading all weights, whether it computes one token or twenty. Everything
but attention treats each token by itself, so the tokens of both go through the layers side by side; only
attention, `CpuAttention`, looks up which belong to whom.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache

from mlx_worker.cpu_network.attention import CpuAttention, SharedCache

PROMPT, PIECE, OTHER = [1, 2, 3, 4, 5, 6, 7], [8, 9, 10], [3, 2, 1]
TOLERANCE = 1e-3


def shared_hidden(
    body: Any, piece: list[int], prompt_caches: list[Any], inputs: mx.array, row_caches: list[Any]
) -> mx.array:
    """What comes out of the network's body for the rows, [1, rows, width]; both caches go on by it."""
    caches = [
        SharedCache(prompt, rows, len(piece)) for prompt, rows in zip(prompt_caches, row_caches, strict=True)
    ]
    tokens = mx.concatenate([mx.array(piece, dtype=mx.uint32), inputs.astype(mx.uint32)])
    hidden: mx.array = body(tokens[None], cache=caches)
    return hidden[:, len(piece) :]


def shares_passes(network: Any) -> bool:
    """Whether a shared pass of this network gives what two passes give. It is tried out."""
    layers = getattr(network, "layers", None)
    if not layers or not all(type(getattr(layer, "self_attn", None)) is CpuAttention for layer in layers):
        return False
    try:
        return agrees(network.model)
    except Exception:
        return False


def agrees(body: Any) -> bool:
    """Whether the rows and the prompt's next tokens are the same in one pass and in two."""
    results = []
    for shared in (False, True):
        prompt, first, second = (make_prompt_cache(body) for _ in range(3))
        for tokens, caches in ((PROMPT, prompt), (PROMPT, first), (OTHER, second)):
            body(mx.array([tokens]), cache=caches)
        rows = [one.merge([one, other]) for one, other in zip(first, second, strict=True)]
        inputs = mx.array([4, 5])
        if shared:
            hidden = shared_hidden(body, PIECE, prompt, inputs, rows)[0]
        else:
            body(mx.array([PIECE]), cache=prompt)
            hidden = body(inputs[:, None], cache=rows)[:, -1]
        after = body(mx.array([[6]]), cache=prompt)[0]
        again = body(inputs[:, None], cache=rows)[:, -1]
        results.append(mx.concatenate([hidden, after, again]))
    separate, together = results
    return bool(mx.allclose(separate, together, rtol=TOLERANCE, atol=TOLERANCE).item())
