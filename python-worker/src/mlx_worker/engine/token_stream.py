"""The way of one request's tokens from the engine to its reader."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlx_worker.engine.request import Completion, GeneratedToken
    from mlx_worker.errors import ServiceError


class TokenStream:
    """Bounded. Tokens that come while the reader is busy are read together. Used in the loop's thread."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.end: Completion | ServiceError | None = None
        self._unread: list[GeneratedToken] = []
        self._changed = asyncio.Event()

    def push(self, tokens: list[GeneratedToken]) -> bool:
        """Adds tokens. False, and nothing is added, when more than `limit` would be unread."""
        if len(self._unread) + len(tokens) > self.limit:
            return False
        self._unread += tokens
        self._changed.set()
        return True

    def close(self, end: Completion | ServiceError) -> None:
        """Ends the stream; what is unread can still be read. The first end counts."""
        if self.end is None:
            self.end = end
            self._changed.set()

    async def read(self) -> list[GeneratedToken]:
        """All unread tokens, at least one. Empty: the stream has ended, and `end` says how."""
        while not self._unread and self.end is None:
            self._changed.clear()
            await self._changed.wait()
        tokens, self._unread = self._unread, []
        return tokens
