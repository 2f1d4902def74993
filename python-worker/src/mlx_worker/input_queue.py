"""What waits to be read, before the engine's own queue: bounded by requests and bytes, gone when cancelled.

Large inputs have a thread of their own, so that no first token waits for megabytes of somebody else; so do
schemas, which may take long to understand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum
from typing import TypeVar

from mlx_worker.errors import ServiceError

# Input that may wait, in bytes: 16 messages of the largest size.
MOST_BYTES = 64 * 2**20
MOST_REQUESTS = 1024
# A larger one waits for the thread of the large ones. The packaged model's tokenizer takes 0.7 s for 1 MiB.
LARGE_BYTES = 64 * 2**10
# What waits is read in about so long.
RETRY_AFTER_MS = 500

Result = TypeVar("Result")


class Lane(Enum):
    """What is read one after the other, in a thread of its own."""

    SMALL = "small"
    LARGE = "large"
    SCHEMA = "schema"


class InputQueue:
    """Runs one function after the other in each lane. Used in the event loop's thread."""

    def __init__(self, room: Callable[[], int] = lambda: MOST_REQUESTS, most_bytes: int = MOST_BYTES) -> None:
        """`room` says how many requests may wait here."""
        self._room = room
        self._most_bytes = most_bytes
        self._executor = ThreadPoolExecutor(max_workers=len(Lane), thread_name_prefix="input")
        self._turns = {lane: asyncio.Lock() for lane in Lane}
        self.waiting = 0
        self.nbytes = 0

    async def run(self, lane: Lane, nbytes: int, function: Callable[[], Result]) -> Result:
        """Runs a function that reads so many bytes. Raises what it raises.

        Raises ServiceError QUEUE_FULL or QUEUE_BYTES_FULL, with the time to retry after.
        """
        turn = self._turns[lane]
        with self._counted(nbytes):
            await turn.acquire()
            try:
                future = asyncio.get_running_loop().run_in_executor(self._executor, function)
            except BaseException:
                turn.release()
                raise
            # The next one waits for the thread, also when nobody waits for this one any more: else those
            # who come and go would pile up before the thread, where nothing counts them.
            future.add_done_callback(lambda _: turn.release())
            return await asyncio.shield(future)

    @contextmanager
    def _counted(self, nbytes: int) -> Iterator[None]:
        if self.waiting >= self._room():
            raise ServiceError("QUEUE_FULL", retry_after_ms=RETRY_AFTER_MS, waiting=self.waiting)
        if self.nbytes and self.nbytes + nbytes > self._most_bytes:
            raise ServiceError("QUEUE_BYTES_FULL", retry_after_ms=RETRY_AFTER_MS, waiting=self.nbytes)
        self.waiting += 1
        self.nbytes += nbytes
        try:
            yield
        finally:
            self.waiting -= 1
            self.nbytes -= nbytes

    def close(self) -> None:
        """Ends the threads without waiting for what they do."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def lane_of(nbytes: int) -> Lane:
    """Where an input of this size is tokenised."""
    return Lane.LARGE if nbytes > LARGE_BYTES else Lane.SMALL
