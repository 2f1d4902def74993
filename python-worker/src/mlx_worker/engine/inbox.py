"""Where requests wait for the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable

from mlx_worker.engine.limits import Limits
from mlx_worker.engine.request import GenerationRequest
from mlx_worker.engine.scheduler import Scheduler, Waiting
from mlx_worker.errors import ServiceError

Entry = Waiting[GenerationRequest]


class Inbox:
    """Bounded by requests and tokens, with cancellations and commands. Any thread may call any method."""

    def __init__(self, limits: Limits, shortest_first: bool = True) -> None:
        self.limits = limits
        # Requests that the engine has begun to prefill and that still wait for a place in the batch.
        self.held = 0
        self._scheduler: Scheduler[GenerationRequest] = Scheduler(shortest_first)
        self._unseen: list[Entry] = []
        self._tokens = 0
        self._cancelled: list[GenerationRequest] = []
        self._commands: list[Callable[[], None]] = []
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._scheduler)

    @property
    def has_unseen(self) -> bool:
        """Whether something has arrived since the last `take_unseen`."""
        return bool(self._unseen)

    @property
    def tokens(self) -> int:
        """Prompt tokens that wait."""
        return self._tokens

    def put(self, request: GenerationRequest, retry_after_ms: int) -> int:
        """Adds a request and returns how many were waiting before it.

        Raises ServiceError: QUEUE_FULL or QUEUE_TOKENS_FULL with the time to retry after, or ENGINE_STOPPED.
        """
        with self._changed:
            if self._closed:
                raise ServiceError("ENGINE_STOPPED")
            position = len(self._scheduler) + self.held
            if position >= self.limits.max_queue:
                raise ServiceError("QUEUE_FULL", retry_after_ms=retry_after_ms, waiting=position)
            if self._tokens and self._tokens + len(request.prompt) > self.limits.max_queue_tokens:
                raise ServiceError("QUEUE_TOKENS_FULL", retry_after_ms=retry_after_ms, waiting=self._tokens)
            entry = Waiting(
                request, request.tenant, request.priority, request.arrived_at, len(request.prompt)
            )
            self._scheduler.add(entry)
            self._unseen.append(entry)
            self._tokens += len(request.prompt)
            request.note("stage:queued")
            self._changed.notify()
            return position

    def cancel(self, request: GenerationRequest) -> None:
        """Takes a waiting request out at once, or tells the engine to end one that has begun."""
        with self._changed:
            if self._remove(request) is None:
                self._cancelled.append(request)
                self._changed.notify()

    def best(self, eligible: Callable[[GenerationRequest], bool] = lambda request: True) -> Entry | None:
        """What is next among the eligible; it stays here."""
        with self._changed:
            return self._scheduler.best(eligible)

    def take(self, request: GenerationRequest) -> bool:
        """Takes a request out. False: it has just been cancelled."""
        with self._changed:
            return self._remove(request) is not None

    def take_unseen(self) -> list[Entry]:
        """What has arrived since the last call; it stays here."""
        with self._changed:
            unseen, self._unseen = self._unseen, []
            return [entry for entry in unseen if entry.work in self._scheduler]

    def score(self, entry: Entry) -> float:
        """The lowest is next; also for what has been taken out."""
        with self._changed:
            return self._scheduler.score(entry)

    def charge(self, tenant: str, tokens: int) -> None:
        """Tokens were spent on a tenant."""
        with self._changed:
            self._scheduler.charge(tenant, tokens)

    def order(self, shortest_first: bool) -> None:
        """Whether shorter prompts go first."""
        self._scheduler.shortest_first = shortest_first

    def take_cancelled(self) -> list[GenerationRequest]:
        """Removes and returns the cancellations of requests that had left the queue."""
        with self._changed:
            cancelled, self._cancelled = self._cancelled, []
            return cancelled

    def command(self, command: Callable[[], None]) -> None:
        """Has the engine call this between two steps. Raises ServiceError ENGINE_STOPPED."""
        with self._changed:
            if self._closed:
                raise ServiceError("ENGINE_STOPPED")
            self._commands.append(command)
            self._changed.notify()

    def take_commands(self) -> list[Callable[[], None]]:
        """Removes and returns the commands."""
        with self._changed:
            commands, self._commands = self._commands, []
            return commands

    def wait(self) -> None:
        """Blocks until there is a request, a cancellation, a command, or the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: bool(len(self._scheduler) or self._cancelled or self._commands or self._closed)
            )

    def close(self) -> list[GenerationRequest]:
        """Refuses new requests, wakes the engine and returns what was still waiting."""
        with self._changed:
            self._closed = True
            waiting = self._scheduler.clear()
            self._unseen, self._tokens = [], 0
            self._changed.notify_all()
            return waiting

    @property
    def closed(self) -> bool:
        """Whether the inbox refuses requests for good."""
        return self._closed

    def _remove(self, request: GenerationRequest) -> Entry | None:
        entry = self._scheduler.remove(request)
        if entry is not None:
            self._tokens -= len(request.prompt)
        return entry
