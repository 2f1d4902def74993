"""How one request's next token is drawn: penalties, schema, sampler, log probabilities, and its faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.sample_utils import make_logits_processors

from mlx_worker.engine.constraint import Constraint
from mlx_worker.sampling import GREEDY, Sampler, SamplingOptions

LogitsProcessor = Callable[[mx.array, mx.array], mx.array]
# Longer than any answer.
WHOLE_ANSWER = 2**30


@dataclass(frozen=True)
class TokenLogprobs:
    """Natural logarithms: of the token itself, and of the most likely possible ones, best first."""

    own: float
    top: tuple[tuple[int, float], ...]


class Draw:
    """One request's draws. A fault in them is kept in `fault` and ends that request only."""

    def __init__(
        self,
        options: SamplingOptions,
        sampler: Sampler,
        constraint: Constraint | None,
        prompt_tokens: int = 0,
    ) -> None:
        """`prompt_tokens` is how many of the tokens before a draw are the prompt's."""
        self._sampler = sampler
        self._prompt_tokens = prompt_tokens
        self._answer_processors = answer_processors_for(options)
        self._processors = processors_for(options)
        self._constraint = constraint
        self._top_logprobs = options.top_logprobs
        self._logprobs: mx.array | None = None
        self._fault: Exception | None = None

    @property
    def plain(self) -> bool:
        """Greedy, with nothing besides: the whole batch can be drawn in one call."""
        return self._sampler is GREEDY and not self.needs_context and self._top_logprobs is None

    @property
    def needs_context(self) -> bool:
        """Whether the token before must be known to draw the next one."""
        return bool(self._processors or self._answer_processors) or self._constraint is not None

    @property
    def fault(self) -> Exception | None:
        """What went wrong, in the draw or in the sampler itself."""
        return self._fault or self._sampler.fault

    def next(self, logits: mx.array, context: list[int]) -> mx.array:
        """The next token [1] from logits [1, vocabulary]; `context` holds all tokens before it."""
        try:
            logits = self._processed(logits, context)
            if self._constraint is not None:
                logits = self._constraint.mask(logits)
            if self._sampler is GREEDY and self._top_logprobs is None:
                return mx.argmax(logits, axis=-1)
            logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
            if self._top_logprobs is not None:
                self._logprobs = logprobs
            return self._sampler(logprobs)
        except Exception as error:
            self._fault = error
            return mx.argmax(logits, axis=-1)

    def _processed(self, logits: mx.array, context: list[int]) -> mx.array:
        if not self._processors and not self._answer_processors:
            return logits
        # mlx-lm's processors write into what they get, and these logits may be kept for others.
        logits = logits * 1
        # mlx-lm alone has the penalties of OpenAI's API after its own.
        parts = ((self._processors, 0), (self._answer_processors, self._prompt_tokens))
        for processors, begin in parts:
            tokens = mx.array(context[begin:] if processors else [], dtype=mx.int32)
            for processor in processors:
                logits = processor(tokens, logits)
        return logits

    def accept(self, token: int) -> None:
        """The token is part of the answer now."""
        if self._constraint is not None and self.fault is None:
            try:
                self._constraint.accept(token)
            except Exception as error:
                self._fault = error

    def take_logprobs(self) -> mx.array | None:
        """The distribution of the last draw, for `logprobs_of` once its token is known."""
        taken, self._logprobs = self._logprobs, None
        return taken

    def logprobs_of(self, distribution: mx.array | None, token: int) -> TokenLogprobs | None:
        """What the request wants to know of a token, None when it did not ask."""
        if distribution is None or self._top_logprobs is None:
            return None
        values = np.array(distribution.astype(mx.float32)).reshape(-1)
        count = min(self._top_logprobs, values.size)
        best = np.argsort(-values, kind="stable")[:count]
        # What a schema or a bias makes impossible has no finite logarithm: OpenAI's API too may give fewer.
        possible = tuple((int(at), float(values[at])) for at in best if np.isfinite(values[at]))
        return TokenLogprobs(float(values[token]), possible)


def processors_for(options: SamplingOptions) -> list[LogitsProcessor]:
    """mlx-lm's own, as it uses them: a repetition counts within the last 20 tokens, the prompt's too."""
    arguments: dict[str, Any] = {}
    if options.logit_bias:
        arguments["logit_bias"] = dict(options.logit_bias)
    if options.repetition_penalty != 1:
        arguments["repetition_penalty"] = options.repetition_penalty
    return list(make_logits_processors(**arguments))


def answer_processors_for(options: SamplingOptions) -> list[LogitsProcessor]:
    """mlx-lm's penalties of OpenAI's API, which counts all that has been generated so far, and no prompt.

    Source: "Frequency and presence penalties" in OpenAI's guide to text generation.
    """
    arguments: dict[str, Any] = {}
    if options.presence_penalty:
        arguments |= {"presence_penalty": options.presence_penalty, "presence_context_size": WHOLE_ANSWER}
    if options.frequency_penalty:
        arguments |= {"frequency_penalty": options.frequency_penalty, "frequency_context_size": WHOLE_ANSWER}
    return list(make_logits_processors(**arguments))
