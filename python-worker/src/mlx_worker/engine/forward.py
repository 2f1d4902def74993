"""Runs the network over prompt tokens, with the head on the last position only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache

from mlx_worker.cpu_network.last_token import last_parts, only_last
from mlx_worker.cpu_network.shared_pass import shared_hidden, shares_passes

PROBE = mx.array([[1, 2, 3, 4, 5]])


class Forward:
    """One network. `last_logits` is [1, vocabulary] after the last token.

    `shares`: a piece of a prompt can go through the network in the pass of the rows that decode.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self._head = separate_head(network)
        self.shares = self._head is not None and shares_passes(network)
        self._last_parts = [] if self._head is None else last_parts(network)

    def fill(self, tokens: list[int], caches: list[Any]) -> None:
        """Computes tokens into the caches. Nothing asks for the head's output, so it is never computed."""
        self.network(mx.array([tokens]), cache=caches)
        mx.eval([cache.state for cache in caches])

    def last_logits(self, tokens: list[int], caches: list[Any]) -> mx.array:
        """Computes tokens into the caches, and the logits after the last one."""
        if self._head is not None:
            with only_last(self._last_parts):
                hidden = self.network.model(mx.array([tokens]), cache=caches)
            logits = self._head(hidden[:, -1:, :])[:, -1, :]
        else:
            if len(tokens) > 1:
                self.fill(tokens[:-1], caches)
            logits = self.network(mx.array([tokens[-1:]]), cache=caches)[:, -1, :]
        mx.eval(logits, [cache.state for cache in caches])
        return logits

    def shared(
        self, piece: list[int], prompt_caches: list[Any], inputs: mx.array, row_caches: list[Any]
    ) -> mx.array:
        """Computes tokens of a prompt into its caches, and each row's logits, [rows, vocabulary]. Lazily."""
        assert self._head is not None
        hidden = shared_hidden(self.network.model, piece, prompt_caches, inputs, row_caches)
        return self._head(hidden)[0]

    def bytes_per_token(self) -> int:
        """Memory of one token's keys and values in all layers."""
        caches = make_prompt_cache(self.network)
        self.fill([1], caches)
        return sum(int(cache.nbytes) // int(getattr(cache, "step", 1)) for cache in caches)


def separate_head(network: Any) -> Callable[[mx.array], mx.array] | None:
    """The head by itself, when body and head together give exactly what the network gives; else None.

    Some networks scale or cap their logits after the head: those fail the probe.
    """
    body = getattr(network, "model", None)
    if not callable(body):
        return None
    head = getattr(network, "lm_head", None)
    if head is None:
        head = getattr(getattr(body, "embed_tokens", None), "as_linear", None)
    if head is None:
        return None
    try:
        whole = network(PROBE, cache=make_prompt_cache(network))[:, -1, :]
        split = head(body(PROBE, cache=make_prompt_cache(network))[:, -1:, :])[:, -1, :]
        same = bool(mx.allclose(whole, split, rtol=1e-4, atol=1e-4).item())
    except Exception:
        return None
    return head if same else None
