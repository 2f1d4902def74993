"""Whether the worker takes requests, with which model, and how many run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mlx_worker.errors import ServiceError
from mlx_worker.model import LoadedModel


class Lifecycle:
    """Loading, serving, draining, stopped. Used in the event loop's thread."""

    def __init__(self) -> None:
        self.model: LoadedModel | None = None
        # Models besides the default one.
        self.others: dict[str, LoadedModel] = {}
        self.draining = False
        self.stopping = asyncio.Event()
        self._streams = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def serving(self) -> bool:
        """Whether a new request would be taken."""
        return self.model is not None and not self.draining and not self.stopping.is_set()

    def model_named(self, name: str) -> LoadedModel:
        """The served model; an empty name means the default. Raises LOADING or MODEL_NOT_FOUND."""
        if self.model is None:
            raise ServiceError("LOADING", retry_after_ms=1000)
        if name in ("", self.model.id):
            return self.model
        if name not in self.others:
            raise ServiceError("MODEL_NOT_FOUND", model=name, served=self.model.id)
        return self.others[name]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts a stream for as long as it lasts. Raises DRAINING or ENGINE_STOPPED when none may begin."""
        if self.stopping.is_set():
            raise ServiceError("ENGINE_STOPPED")
        if self.draining:
            raise ServiceError("DRAINING")
        self._streams += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._streams -= 1
            if self._streams == 0:
                self._idle.set()

    async def drain(self, timeout_seconds: float) -> int:
        """Refuses new streams and waits for those that run. Returns how many are left."""
        self.draining = True
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout_seconds)
        return self._streams
