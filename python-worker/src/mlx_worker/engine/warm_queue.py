"""Prompts that are prefilled while their requests wait somewhere else, for instance in a gateway's queue."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

from mlx_worker.engine.prefill_job import PrefillJob
from mlx_worker.engine.prefix_cache import PrefixCache
from mlx_worker.engine.request import GenerationRequest, Stages
from mlx_worker.engine.served_model import ModelStore
from mlx_worker.logs import Logger


@dataclass(eq=False)
class WarmPrompt:
    """An announced prompt. What is below `expires_at` belongs to the engine's thread."""

    digest: bytes
    model: str
    tenant: str
    tokens: list[int]
    stages: Stages
    expires_at: float = 0.0
    job: PrefillJob | None = None
    # After the last token, once the whole prompt is computed.
    logits: mx.array | None = None
    # Nothing more will be computed ahead: it is through, or there is no room for it.
    settled: bool = False


class WarmQueue:
    """Each prompt has caches of its own, bounded together by `most_bytes`. Used in the engine's thread only.

    Real prompts come first: only what they leave of a step's tokens, and idle time, is spent here.
    """

    def __init__(self, models: ModelStore, prefixes: PrefixCache, logger: Logger) -> None:
        self.most_bytes = prefixes.most_bytes
        self.shortest_first = True
        self.computed_tokens = 0
        self._models = models
        self._prefixes = prefixes
        self._logger = logger
        self._prompts: dict[WarmPrompt, None] = {}

    def __len__(self) -> int:
        return len(self._prompts)

    @property
    def pending(self) -> bool:
        """Whether there is something to compute."""
        return any(not prompt.settled for prompt in self._prompts)

    @property
    def nbytes(self) -> int:
        """Memory of the prompts that have been begun, once they are through."""
        return sum(bytes_of(prompt) for prompt in self._prompts if prompt.job is not None)

    def add(self, prompt: WarmPrompt) -> None:
        """Announces a prompt."""
        self._prompts[prompt] = None

    def forget(self, prompt: WarmPrompt) -> None:
        """Frees a prompt that nobody will ask for. One that was taken is not touched."""
        if prompt in self._prompts:
            del self._prompts[prompt]
            prompt.job = prompt.logits = None

    def clear(self) -> None:
        """Frees all; their requests go on cold."""
        for prompt in list(self._prompts):
            self.forget(prompt)

    def forget_model(self, model: str) -> None:
        """Frees what was made by a model that is gone."""
        for prompt in [prompt for prompt in self._prompts if prompt.model == model]:
            self.forget(prompt)

    def take(self, request: GenerationRequest) -> tuple[PrefillJob, mx.array | None] | None:
        """What is ready of a request's prompt: the job to go on with, and the logits when it is through."""
        prompt = request.warm
        if prompt is None or prompt not in self._prompts:
            return None
        del self._prompts[prompt]
        if prompt.job is None or request.resume:
            return None
        if request.worth_keeping and self._is_kept(prompt):
            return None
        return prompt.job, prompt.logits

    def advance(self, most: int) -> int:
        """Computes up to `most` tokens. Returns how many; a fault frees the prompt that had it."""
        computed = 0
        while computed < most and (prompt := self._next()) is not None:
            try:
                computed += self._advance(prompt, most - computed)
            except Exception as error:
                self._logger.error("a prompt could not be warmed", error)
                self.forget(prompt)
        self.computed_tokens += computed
        return computed

    def _next(self) -> WarmPrompt | None:
        waiting = [prompt for prompt in self._prompts if not prompt.settled]
        if not self.shortest_first:
            return waiting[0] if waiting else None
        return min(waiting, key=remaining_of, default=None)

    def _advance(self, prompt: WarmPrompt, most: int) -> int:
        if prompt.job is None:
            prompt.job = self._begin(prompt)
            prompt.settled = prompt.job is None
        if prompt.job is None:
            return 0
        count, prompt.logits = prompt.job.advance(most)
        if prompt.logits is not None:
            prompt.settled = True
            if prompt.stages.kv_prep:
                prompt.job.keep(self._prefixes, None)
        return count

    def _begin(self, prompt: WarmPrompt) -> PrefillJob | None:
        """None: it is ready without computing anything, or there is no room for it."""
        served = self._models.named(prompt.model)
        job = PrefillJob(served, prompt.tenant, prompt.tokens)
        if (
            self._is_kept(prompt)
            or self.nbytes + len(prompt.tokens) * served.bytes_per_token > self.most_bytes
        ):
            return None
        job.begin(self._prefixes if prompt.stages.kv_prep else None, whole=False)
        return job

    def _is_kept(self, prompt: WarmPrompt) -> bool:
        if not prompt.stages.speculation:
            return False
        served = self._models.named(prompt.model)
        return self._prefixes.has_logits(served.can_be_cut, prompt.model, prompt.tenant, prompt.tokens)


def bytes_of(prompt: WarmPrompt) -> int:
    """Memory of a prompt's KV."""
    return 0 if prompt.job is None else len(prompt.tokens) * prompt.job.served.bytes_per_token


def remaining_of(prompt: WarmPrompt) -> int:
    """Tokens that must still be computed."""
    return len(prompt.tokens) if prompt.job is None else prompt.job.remaining
