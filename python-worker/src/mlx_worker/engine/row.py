"""One request that has begun: its tokens so far, its text, and where its time went."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx

from mlx_worker.engine.answer_text import AnswerText
from mlx_worker.engine.draw import Draw
from mlx_worker.engine.request import Completion, EndReason, GeneratedToken, GenerationRequest
from mlx_worker.errors import ServiceError


@dataclass(frozen=True)
class StepResult:
    """What one step gave one request: a token, an end, or both."""

    request: GenerationRequest
    token: GeneratedToken | None
    end: Completion | ServiceError | None


@dataclass(eq=False)
class Row:
    """`tokens` are the prompt's and, from there on, the answer's."""

    request: GenerationRequest
    text: AnswerText
    draw: Draw
    most_tokens: int
    end_tokens: frozenset[int]
    tokens: list[int]
    cached_tokens: int = 0
    count: int = 0
    distribution: mx.array | None = None
    caches: list[Any] = field(default_factory=list)

    def advance(self, token: int) -> StepResult:
        """The next token is known. The result says whether it is the last one."""
        if self.draw.fault is None:
            self.draw.accept(token)
        if self.draw.fault is not None:
            return self.failed(self.draw.fault)
        self.count += 1
        self.tokens.append(token)
        if self.count == len(self.request.resume) + 1:
            self.request.first_drawn_at = time.monotonic()
            self.request.note("stage:firstToken")
        try:
            return self._result(token)
        except Exception as error:
            return self.failed(error)

    def replay(self, tokens: list[int]) -> Completion | None:
        """Takes up an answer. Its completion, when these tokens are the whole of it."""
        for token in tokens:
            result = self.advance(token)
            if isinstance(result.end, ServiceError):
                raise result.end
            if result.end is not None:
                return result.end
        return None

    def failed(self, fault: Exception) -> StepResult:
        """The end of this request, by a fault of its own."""
        error = ServiceError("SAMPLING_FAILED")
        error.__cause__ = fault
        return StepResult(self.request, None, error)

    def _result(self, token: int) -> StepResult:
        logprobs = self.draw.logprobs_of(self.distribution, token)
        if token in self.end_tokens:
            last = GeneratedToken(token, self.text.finish(), logprobs)
            return StepResult(self.request, last, self._complete(EndReason.STOP))
        is_last = self.count >= self.most_tokens
        text = self.text.add_last(token) if is_last else self.text.add(token)
        end = None
        if self.text.stopped:
            end = self._complete(EndReason.STOP)
        elif is_last:
            end = self._complete(EndReason.LENGTH)
        return StepResult(self.request, GeneratedToken(token, text, logprobs), end)

    def _complete(self, reason: EndReason) -> Completion:
        calls = self.text.tool_calls
        return Completion(
            reason=EndReason.TOOL_CALLS if calls and reason is EndReason.STOP else reason,
            tool_calls=calls,
            completion_tokens=self.count,
            queue_ms=self.request.queue_ms,
            prefill_ms=self.request.prefill_ms,
            cached_tokens=self.cached_tokens,
        )
