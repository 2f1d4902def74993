"""Where requests wait for the engine."""

from __future__ import annotations

import threading
from collections import deque

from mlx_worker.engine.request import GenerationRequest
from mlx_worker.errors import ServiceError


class Inbox:
    """A bounded queue, first in first out, with cancellations. Every method may be called from any thread."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._waiting: deque[GenerationRequest] = deque()
        self._cancelled: list[GenerationRequest] = []
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, request: GenerationRequest, retry_after_ms: int) -> int:
        """Adds a request and returns how many were waiting before it.

        Raises ServiceError: QUEUE_FULL with the time to retry after, or ENGINE_STOPPED.
        """
        with self._changed:
            if self._closed:
                raise ServiceError("ENGINE_STOPPED")
            position = len(self._waiting)
            if position >= self.limit:
                raise ServiceError("QUEUE_FULL", retry_after_ms=retry_after_ms, waiting=position)
            self._waiting.append(request)
            self._changed.notify()
            return position

    def cancel(self, request: GenerationRequest) -> None:
        """Takes a waiting request out at once, or tells the engine to end a running one."""
        with self._changed:
            try:
                self._waiting.remove(request)
            except ValueError:
                self._cancelled.append(request)
                self._changed.notify()

    def take(self, most: int) -> list[GenerationRequest]:
        """Removes up to `most` waiting requests, the oldest first."""
        with self._changed:
            return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def take_cancelled(self) -> list[GenerationRequest]:
        """Removes and returns the cancellations of requests that had left the queue."""
        with self._changed:
            cancelled, self._cancelled = self._cancelled, []
            return cancelled

    def wait(self) -> None:
        """Blocks until there is a request, a cancellation, or the end."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting or self._cancelled or self._closed))

    def close(self) -> list[GenerationRequest]:
        """Refuses new requests, wakes the engine and returns what was still waiting."""
        with self._changed:
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
            return waiting

    @property
    def closed(self) -> bool:
        """Whether the inbox refuses requests for good."""
        return self._closed
