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
MOST_REPETITION_PENALTY = 10
MOST_BIASES = 1024
MOST_TOP_LOGPROBS = 20
LONGEST_SCHEMA = 65_536
# So many keys are passed over in one go, so that the graph of lazy arrays stays small.
KEYS_AT_ONCE = 256


@dataclass(frozen=True)
class SamplingOptions:
    """Checked options. Temperature 0 is greedy; `seed` None draws differently each time."""

    max_tokens: int = DEFAULT_MAX_TOKENS
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    # None: no log probabilities; else how many of the most likely tokens come with each token.
    top_logprobs: int | None = None
    json_schema: str = ""
    # Draws that were made elsewhere: the first draw here is the one after them.
    drawn: int = 0

    @property
    def changes_logits(self) -> bool:
        """Whether the tokens so far, a bias or a schema change what may be drawn."""
        plain = self.repetition_penalty == 1 and not self.presence_penalty and not self.frequency_penalty
        return not plain or bool(self.logit_bias) or bool(self.json_schema)


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
        top_k=message.top_k,
        min_p=message.min_p,
        repetition_penalty=message.repetition_penalty if message.HasField("repetition_penalty") else 1.0,
        presence_penalty=message.presence_penalty,
        frequency_penalty=message.frequency_penalty,
        logit_bias=tuple(sorted(message.logit_bias.items())),
        top_logprobs=message.top_logprobs if message.HasField("top_logprobs") else None,
        json_schema=message.json_schema,
    )
    check_draw(options)
    check_changes(options)
    return options


def check_draw(options: SamplingOptions) -> None:
    """Raises ServiceError for a length, a way to draw or a stop that is out of range."""
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
    if not 0 <= options.min_p <= 1:
        raise ServiceError("MIN_P_INVALID", value=options.min_p)


def check_changes(options: SamplingOptions) -> None:
    """Raises ServiceError for a penalty, bias, schema or number of log probabilities that is out of range."""
    if not 0 < options.repetition_penalty <= MOST_REPETITION_PENALTY:
        raise ServiceError("REPETITION_PENALTY_INVALID", value=options.repetition_penalty)
    for name in ("presence_penalty", "frequency_penalty"):
        if not -2 <= getattr(options, name) <= 2:
            raise ServiceError("PENALTY_INVALID", name=name, value=getattr(options, name))
    if len(options.logit_bias) > MOST_BIASES or not all(
        -100 <= bias <= 100 for _, bias in options.logit_bias
    ):
        raise ServiceError("LOGIT_BIAS_INVALID", most=MOST_BIASES)
    if (options.top_logprobs or 0) > MOST_TOP_LOGPROBS:
        raise ServiceError("TOP_LOGPROBS_INVALID", most=MOST_TOP_LOGPROBS)
    if len(options.json_schema) > LONGEST_SCHEMA:
        raise ServiceError("SCHEMA_INVALID", detail=f"it is longer than {LONGEST_SCHEMA} characters")


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
        self._min_p = options.min_p
        self._top_k = options.top_k
        self._key = mx.random.key(seed % 2**64)
        for at in range(options.drawn):
            self._key, _ = mx.random.split(self._key)
            if at % KEYS_AT_ONCE == 0:
                mx.eval(self._key)

    def __call__(self, logprobs: mx.array) -> mx.array:
        try:
            return self._draw(logprobs)
        except Exception as error:
            self.fault = error
            return mx.argmax(logprobs, axis=-1)

    def _draw(self, logprobs: mx.array) -> mx.array:
        self._key, key = mx.random.split(self._key)
        kept = logprobs.astype(mx.float32)
        if self._top_p < 1:
            kept = keep_mass(kept, self._top_p)
        if self._min_p > 0:
            least = mx.max(kept, axis=-1, keepdims=True) + math.log(self._min_p)
            kept = mx.where(kept < least, -mx.inf, kept)
        if 0 < self._top_k < kept.shape[-1]:
            least = mx.min(mx.topk(kept, self._top_k, axis=-1), axis=-1, keepdims=True)
            kept = mx.where(kept < least, -mx.inf, kept)
        return mx.random.categorical(kept / self._temperature, key=key)


def keep_mass(logprobs: mx.array, mass: float) -> mx.array:
    """The smallest set of the most likely tokens that reaches this mass; the others become impossible."""
    ranked = mx.sort(logprobs, axis=-1)[..., ::-1]
    probabilities = mx.softmax(ranked, axis=-1)
    mass_before = mx.cumsum(probabilities, axis=-1) - probabilities
    # The first keeps the most likely token even when rounding makes the mass before it tiny but not zero.
    inside = (mass_before < mass) | (mx.arange(ranked.shape[-1]) == 0)
    least = mx.min(mx.where(inside, ranked, mx.inf), axis=-1, keepdims=True)
    return mx.where(logprobs < least, -mx.inf, logprobs)
