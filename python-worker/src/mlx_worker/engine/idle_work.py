"""Prompts that are computed while nobody waits: what was asked for, then what probably comes next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mlx_worker.engine.prefill_job import PrefillJob
from mlx_worker.engine.prefix_cache import PrefixCache
from mlx_worker.engine.served_model import ServedModel

MOST_PREPARATIONS = 256


@dataclass(frozen=True)
class Prepared:
    """How a preparation ended."""

    cached_tokens: int
    prepared: bool


@dataclass(eq=False)
class Preparation:
    """A prompt to compute and keep. `on_end` is called in the engine's thread, once."""

    job: PrefillJob
    pin: bool = False
    with_logits: bool = False
    on_end: Callable[[Prepared], None] = lambda prepared: None
    begun: bool = False
    cancelled: bool = False

    @property
    def prompt(self) -> tuple[str, str, tuple[int, ...]]:
        """What is prepared, for whom."""
        return self.job.served.id, self.job.tenant, tuple(self.job.tokens)

    @property
    def nbytes(self) -> int:
        """Memory of the whole prompt's KV."""
        return len(self.job.tokens) * self.job.served.bytes_per_token


class IdleWork:
    """One slice at a time, so that real work never waits for more than one. Engine's thread only."""

    def __init__(self, prefixes: PrefixCache, has_room: Callable[[int], bool] = lambda nbytes: True) -> None:
        """`has_room` says whether memory has room for so many bytes more."""
        self._prefixes = prefixes
        self._has_room = has_room
        self._waiting: deque[Preparation] = deque()
        self.finished = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waiting(self) -> list[Preparation]:
        """What is wanted still, the oldest first."""
        return [preparation for preparation in self._waiting if not preparation.cancelled]

    @property
    def nbytes(self) -> int:
        """Memory of the preparation that has begun, once it is through."""
        return sum(prep.nbytes for prep in self._waiting if prep.begun)

    def begin_anew(self) -> None:
        """Frees what has been computed and is not through: what it needs is wanted for something else."""
        for preparation in self._waiting:
            preparation.begun = False
            preparation.job.reset()

    def add(self, preparation: Preparation) -> bool:
        """False: too many wait already."""
        if len(self._waiting) >= MOST_PREPARATIONS:
            return False
        self._waiting.append(preparation)
        return True

    def slice(self, tokens: int) -> None:
        """Computes up to so many tokens of the oldest preparation. Raises what the network raises."""
        preparation = self._waiting[0]
        job = preparation.job
        if preparation.cancelled:
            self._end(preparation, False)
            return
        try:
            if not preparation.begun:
                if not self._has_room(preparation.nbytes):
                    self._end(preparation, False)
                    return
                preparation.begun = True
                logits = job.begin(self._prefixes, whole=True)
                if logits is not None:
                    self._end(preparation, job.keep(self._prefixes, None, preparation.pin))
                    return
            _, logits = job.advance(tokens)
        except Exception:
            self._end(preparation, False)
            raise
        if logits is not None:
            fits = job.keep(self._prefixes, logits if preparation.with_logits else None, preparation.pin)
            self.finished += 1
            self._end(preparation, fits)

    def forget(self, served: ServedModel | None = None) -> None:
        """Ends what waits, of one model or all."""
        for preparation in list(self._waiting):
            if served is None or preparation.job.served is served:
                self._end(preparation, False)

    def _end(self, preparation: Preparation, prepared: bool) -> None:
        self._waiting.remove(preparation)
        preparation.job.caches = None
        preparation.on_end(Prepared(preparation.job.cached, prepared))
