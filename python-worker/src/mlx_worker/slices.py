"""Long work for the engine's thread, done a slice at a time so that running streams go on beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

Result = TypeVar("Result")
# Each `yield` is a place at which other work may come between.
Slices: TypeAlias = Generator[None, None, Result]


def at_once(slices: Slices[Result]) -> Result:
    """Does all of it without a pause. Raises what it raises."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: Result = end.value
            return result


class SlicedWork:
    """One piece of work after the other. Used in the engine's thread only."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Slices[Any], Callable[[Any], None], Callable[[Exception], None]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self, slices: Slices[Result], on_end: Callable[[Result], None], on_error: Callable[[Exception], None]
    ) -> None:
        """Begins it once what came before is done. One of the two functions is called, once."""
        self._waiting.append((slices, on_end, on_error))

    def advance(self) -> None:
        """Does one slice, if there is any."""
        if not self._waiting:
            return
        slices, on_end, on_error = self._waiting[0]
        try:
            next(slices)
        except StopIteration as end:
            self._waiting.popleft()
            on_end(end.value)
        except Exception as error:
            self._waiting.popleft()
            on_error(error)
