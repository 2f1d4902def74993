"""How a token is drawn: options, and a sampler per request with a random key of its own."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx

from mlx_worker.errors import ServiceError
from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb

DEFAULT_MAX_TOKENS = 256
MOST_STOP_STRINGS = 4
LONGEST_STOP_STRING = 256
# Below this a division by the temperature overflows, and the draw is greedy anyway.
LEAST_TEMPERATURE = 1e-4


@dataclass(frozen=True)
class SamplingOptions:
    """Checked options. Temperature 0 is greedy; `seed` None draws differently each time."""

    max_tokens: int = DEFAULT_MAX_TOKENS
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


class Sampler(Protocol):
    """Draws from log probabilities [rows, vocabulary] token ids [rows]. `fault` is set when it could not."""

    fault: Exception | None

    def __call__(self, logprobs: mx.array) -> mx.array: ...


def sampling_options(message: pb.SamplingOptions) -> SamplingOptions:
    """Checks the request's options and fills in defaults. Raises ServiceError for a value out of range."""
    options = SamplingOptions(
        max_tokens=message.max_tokens if message.HasField("max_tokens") else DEFAULT_MAX_TOKENS,
        temperature=message.temperature,
        top_p=message.top_p if message.HasField("top_p") else 1.0,
        seed=message.seed if message.HasField("seed") else None,
        stop=tuple(message.stop),
    )
    if options.max_tokens < 1:
        raise ServiceError("MAX_TOKENS_INVALID", value=options.max_tokens)
    if not (math.isfinite(options.temperature) and 0 <= options.temperature <= 2):
        raise ServiceError("TEMPERATURE_INVALID", value=options.temperature)
    if not 0 < options.top_p <= 1:
        raise ServiceError("TOP_P_INVALID", value=options.top_p)
    if len(options.stop) > MOST_STOP_STRINGS or not all(
        0 < len(s) <= LONGEST_STOP_STRING for s in options.stop
    ):
        raise ServiceError("STOP_INVALID")
    return options


def sampler_for(options: SamplingOptions) -> Sampler:
    """A sampler for one request. All greedy ones share one: a batch with one sampler draws in one call."""
    return GREEDY if options.temperature < LEAST_TEMPERATURE else RowSampler(options)


class GreedySampler:
    """The most likely token. Has no state."""

    fault: Exception | None = None

    def __call__(self, logprobs: mx.array) -> mx.array:
        return mx.argmax(logprobs, axis=-1)


GREEDY = GreedySampler()


class RowSampler:
    """Temperature, then nucleus, with one fresh key per token.

    The n-th key depends on the seed and n alone, so neighbours in the batch do not change the draw.
    A fault is kept in `fault` and not raised, since raising would end the whole batch.
    """

    def __init__(self, options: SamplingOptions) -> None:
        seed = secrets.randbits(63) if options.seed is None else options.seed
        self.fault: Exception | None = None
        self._temperature = options.temperature
        self._top_p = options.top_p
        self._key = mx.random.key(seed % 2**64)

    def __call__(self, logprobs: mx.array) -> mx.array:
        try:
            return self._draw(logprobs)
        except Exception as error:
            self.fault = error
            return mx.argmax(logprobs, axis=-1)

    def _draw(self, logprobs: mx.array) -> mx.array:
        self._key, key = mx.random.split(self._key)
        scaled = logprobs.astype(mx.float32) / self._temperature
        if self._top_p >= 1:
            return mx.random.categorical(scaled, key=key)
        order = mx.argsort(-scaled, axis=-1)
        ranked = mx.take_along_axis(scaled, order, axis=-1)
        probabilities = mx.softmax(ranked, axis=-1)
        mass_before = mx.cumsum(probabilities, axis=-1) - probabilities
        # A minimum keeps the most likely token even when rounding makes the mass before it tiny but not zero.
        inside = (mass_before < self._top_p) | (mx.arange(ranked.shape[-1]) == 0)
        choice = mx.random.categorical(mx.where(inside, ranked, -mx.inf), key=key)
        return mx.take_along_axis(order, choice[:, None], axis=-1).squeeze(-1)
