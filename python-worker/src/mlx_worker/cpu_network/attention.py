"""Attention with fewer and larger products, powers of two, and no work above the diagonal.

MLX multiplies each query head by itself, and BLAS packs the keys again for each of them. Here the heads that
share keys go through one product. A prompt goes in blocks of queries, each with the keys up to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.base import scaled_dot_product_attention

from mlx_worker.cpu_network.feed_forward import LOG2_E
from mlx_worker.cpu_network.linear import PackedLinear

# Queries of a prompt that go together. More of them waste work above the diagonal, fewer of them calls.
BLOCK = 64
# Added to scores that do not count.
NEVER = -1e9


@dataclass(frozen=True)
class SharedCache:
    """One layer's caches in a shared pass: its first `tokens` are a prompt's, each other one is a row's."""

    prompt: Any
    rows: Any
    tokens: int

    def make_mask(self, count: int, **options: Any) -> tuple[Any, Any]:
        """The prompt's mask and the rows', as mlx-lm asks for them."""
        return self.prompt.make_mask(self.tokens, **options), self.rows.make_mask(1, **options)


class CpuAttention(nn.Module):  # type: ignore[misc]  # MLX has no types here
    """In place of an attention of four linear layers and a rotary embedding."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads = attention.n_heads, attention.n_kv_heads
        self.scale, self.rope = attention.scale, attention.rope
        self.q_proj = PackedLinear(attention.q_proj)
        self.k_proj = PackedLinear(attention.k_proj)
        self.v_proj = PackedLinear(attention.v_proj)
        self.o_proj = PackedLinear(attention.o_proj)
        # Whether only the last token of what comes out is looked at, as in the last layer of a prompt.
        self.only_last = False

    def __call__(self, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
        if self.only_last and isinstance(mask, str) and mask == "causal":
            return self.o_proj(self.last_answer(x, cache))
        parts = [self.q_proj(x), self.k_proj(x), self.v_proj(x)]
        if not isinstance(cache, SharedCache):
            return self.o_proj(self.answer(parts, mask, cache))
        end = cache.tokens
        prompt = self.answer([part[:, :end] for part in parts], mask[0], cache.prompt)
        rows = self.answer([part[0, end:, None] for part in parts], mask[1], cache.rows)
        return self.o_proj(mx.concatenate([prompt, rows.swapaxes(0, 1)], axis=1))

    def answer(self, parts: list[mx.array], mask: Any, cache: Any) -> mx.array:
        """Queries, keys and values, each [rows, tokens, width], as [rows, tokens, width]."""
        queries = heads(parts[0], self.n_heads)
        keys, values = heads(parts[1], self.n_kv_heads), heads(parts[2], self.n_kv_heads)
        offset = 0 if cache is None else cache.offset
        # The queries are those of the last tokens.
        before = keys.shape[2] - queries.shape[2]
        queries = self.rope(queries, offset=offset + before if before else offset)
        keys = self.rope(keys, offset=offset)
        if cache is not None:
            keys, values = cache.update_and_fetch(keys, values)
        answer = attend(queries, keys, values, cache, self.scale, mask)
        return answer.transpose(0, 2, 1, 3).reshape(*parts[0].shape[:2], -1)

    def last_answer(self, x: mx.array, cache: Any) -> mx.array:
        """That of the last token, [rows, 1, width]; the cache goes on by all of them."""
        return self.answer([self.q_proj(x[:, -1:]), self.k_proj(x), self.v_proj(x)], None, cache)


def heads(x: mx.array, count: int) -> mx.array:
    """[rows, tokens, width] as [rows, heads, tokens, width of a head]."""
    return x.reshape(*x.shape[:2], count, -1).transpose(0, 2, 1, 3)


def attend(
    queries: mx.array, keys: mx.array, values: mx.array, cache: Any, scale: float, mask: Any
) -> mx.array:
    """As mlx-lm's function of the same arguments, which still serves what is rare."""
    tokens = queries.shape[2]
    plain = queries.dtype == mx.float32 and not hasattr(cache, "bits")
    if plain and tokens == 1 and (mask is None or isinstance(mask, mx.array)):
        return attend_one(queries * (scale * LOG2_E), keys, values, mask)
    if plain and isinstance(mask, str) and mask == "causal":
        return attend_causal(queries * (scale * LOG2_E), keys, values)
    answer: mx.array = scaled_dot_product_attention(
        queries, keys, values, cache=cache, scale=scale, mask=mask
    )
    return answer


def attend_one(queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None) -> mx.array:
    """One query for each row. `mask` is [rows or 1, 1, 1, keys], of booleans or of what is added."""
    rows, count, _, width = queries.shape
    if mask is not None and mask.dtype == mx.bool_:
        mask = mx.where(mask, 0.0, NEVER)
    grouped = queries.reshape(rows, keys.shape[1], -1, width)
    # Keys first: BLAS takes up to three times as long when it has to turn them.
    scores = mx.contiguous((keys @ mx.contiguous(grouped.swapaxes(-1, -2))).swapaxes(-1, -2))
    return weighted(scores if mask is None else scores + mask, values).reshape(rows, count, 1, -1)


def attend_causal(queries: mx.array, keys: mx.array, values: mx.array) -> mx.array:
    """Each query with the keys up to its own; the last query is at the last key."""
    rows, count, tokens, width = queries.shape
    groups, before = keys.shape[1], keys.shape[2] - tokens
    grouped = queries.reshape(rows, groups, count // groups, tokens, width)
    blocks = []
    for start in range(0, tokens, BLOCK):
        end = min(tokens, start + BLOCK)
        known = before + end
        some = grouped[:, :, :, start:end].reshape(rows, groups, -1, width)
        scores = some @ keys[:, :, :known].swapaxes(-1, -2)
        at = mx.arange(before + start, known)[:, None]
        above = mx.where(at >= mx.arange(known)[None], 0.0, NEVER)
        scores = scores.reshape(rows, groups, -1, end - start, known) + above
        scores = scores.reshape(rows, groups, -1, known)
        block = weighted(scores, values[:, :, :known])
        blocks.append(block.reshape(rows, groups, count // groups, end - start, -1))
    together = blocks[0] if len(blocks) == 1 else mx.concatenate(blocks, axis=3)
    return together.reshape(rows, count, tokens, -1)


def weighted(scores: mx.array, values: mx.array) -> mx.array:
    """The mean of the values, weighted by two to the power of the scores."""
    weights = mx.power(2.0, scores - mx.max(scores, axis=-1, keepdims=True))
    return (weights @ values) / mx.sum(weights, axis=-1, keepdims=True)
