"""The requests that run together, on mlx-lm's BatchGenerator."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlx_lm.generate import BatchGenerator

from mlx_worker.engine.answer_text import AnswerText
from mlx_worker.engine.request import Completion, EndReason, GeneratedToken, GenerationRequest
from mlx_worker.errors import ServiceError
from mlx_worker.model import LoadedModel
from mlx_worker.sampling import Sampler, SamplingOptions

MOST_PREFILLED_TOGETHER = 8


@dataclass(frozen=True)
class StepResult:
    """What one step gave one request: a token, an end, or both."""

    request: GenerationRequest
    token: GeneratedToken | None
    end: Completion | ServiceError | None


@dataclass(eq=False)
class Row:
    """One running request. Times are time.monotonic()."""

    request: GenerationRequest
    text: AnswerText
    sampler: Sampler
    most_tokens: int
    admitted_at: float
    first_token_at: float = 0.0
    tokens: int = 0


class Batch:
    """Used in the engine's thread only."""

    def __init__(
        self,
        model: LoadedModel,
        max_batch: int,
        prefill_chunk: int,
        make_sampler: Callable[[SamplingOptions], Sampler],
    ) -> None:
        self._model = model
        self._max_batch = max_batch
        self._prefill_chunk = prefill_chunk
        self._make_sampler = make_sampler
        self._rows: dict[int, Row] = {}
        self._generator = self._make_generator()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def free(self) -> int:
        """Requests that may still be added."""
        return self._max_batch - len(self._rows)

    def add(self, request: GenerationRequest) -> None:
        """Admits a request. Raises when it cannot be run; the others are then not touched."""
        most = min(request.options.max_tokens, self._model.context_length - len(request.prompt))
        sampler = self._make_sampler(request.options)
        text = AnswerText(self._model.tokenizer.detokenizer, request.options.stop)
        (uid,) = self._generator.insert([list(request.prompt)], max_tokens=[most], samplers=[sampler])
        self._rows[uid] = Row(request, text, sampler, most, time.monotonic())

    def remove(self, requests: list[GenerationRequest]) -> None:
        """Takes requests out in any stage and frees their memory. Unknown ones are passed over."""
        wanted = set(map(id, requests))
        self._drop([uid for uid, row in self._rows.items() if id(row.request) in wanted])

    def clear(self) -> list[GenerationRequest]:
        """Starts afresh after a failed step. Returns the requests that ran."""
        requests = [row.request for row in self._rows.values()]
        self._rows.clear()
        self._generator.close()
        self._generator = self._make_generator()
        return requests

    def step(self) -> list[StepResult]:
        """One token for each row that decodes, then one chunk of prompts. Raises when the model fails."""
        _, responses = self._generator.next()
        results: list[StepResult] = []
        finished: list[int] = []
        for response in responses:
            result = self._advance(self._rows[response.uid], response.token)
            results.append(result)
            if result.end is not None:
                finished.append(response.uid)
        self._drop(finished)
        return results

    def _make_generator(self) -> Any:
        together = min(MOST_PREFILLED_TOGETHER, self._max_batch)
        return BatchGenerator(
            self._model.network,
            completion_batch_size=self._max_batch,
            prefill_batch_size=together,
            prefill_step_size=self._prefill_chunk,
        )

    def _drop(self, uids: list[int]) -> None:
        if uids:
            self._generator.remove(uids)
            for uid in uids:
                del self._rows[uid]

    def _advance(self, row: Row, token: int) -> StepResult:
        if row.sampler.fault is not None:
            error = ServiceError("SAMPLING_FAILED")
            error.__cause__ = row.sampler.fault
            return StepResult(row.request, None, error)
        row.tokens += 1
        if row.tokens == 1:
            row.first_token_at = time.monotonic()
        if token in self._model.end_tokens:
            return StepResult(
                row.request, GeneratedToken(token, row.text.finish()), complete(row, EndReason.STOP)
            )
        is_last = row.tokens >= row.most_tokens
        text = row.text.add_last(token) if is_last else row.text.add(token)
        end = None
        if row.text.stopped:
            end = complete(row, EndReason.STOP)
        elif is_last:
            end = complete(row, EndReason.LENGTH)
        return StepResult(row.request, GeneratedToken(token, text), end)


def complete(row: Row, reason: EndReason) -> Completion:
    """The completion of a row that has had at least one token."""
    return Completion(
        reason=reason,
        completion_tokens=row.tokens,
        queue_ms=(row.admitted_at - row.request.arrived_at) * 1000 - row.request.tokenize_ms,
        prefill_ms=(row.first_token_at - row.admitted_at) * 1000,
    )
