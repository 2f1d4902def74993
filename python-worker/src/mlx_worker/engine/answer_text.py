"""From token ids to text, with stop strings taken out."""

from __future__ import annotations

from typing import Any

from mlx_worker.engine.tool_text import ToolCall, ToolText


class AnswerText:
    """The text of one answer. Text that may yet become a stop string is held back until that is settled."""

    def __init__(self, detokenizer: Any, stop: tuple[str, ...], tools: ToolText | None = None) -> None:
        self.stopped = False
        self._detokenizer = detokenizer
        self._stop = stop
        self._held = ""
        self._tools = tools

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the answer has called so far."""
        return () if self._tools is None else tuple(self._tools.calls)

    def add(self, token: int) -> str:
        """Text that is now certain; empty inside a multi-byte character. Sets `stopped` at a stop string."""
        self._detokenizer.add_token(token)
        text = self._release(self._detokenizer.last_segment)
        if self._tools is None:
            return text
        return self._tools.add(text) + (self._tools.finish() if self.stopped else "")

    def add_last(self, token: int) -> str:
        """As `add`, for a token after which there is no other: nothing is held back."""
        self._detokenizer.add_token(token)
        return self.finish()

    def finish(self) -> str:
        """What remains at the end of the answer."""
        rest = self._finish()
        return rest if self._tools is None else self._tools.add(rest) + self._tools.finish()

    def _finish(self) -> str:
        self._detokenizer.finalize()
        released = self._release(self._detokenizer.last_segment)
        if self.stopped:
            return released
        held, self._held = self._held, ""
        return released + held

    def _release(self, segment: str) -> str:
        if not self._stop:
            return str(segment)
        text = self._held + segment
        # The match that ends first, so that the answer does not depend on how the text was cut into tokens.
        found = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        cut = len(text) - held_length(text, self._stop)
        self._held = text[cut:]
        return text[:cut]


def held_length(text: str, stop: tuple[str, ...]) -> int:
    """Length of the longest end of `text` with which a stop string begins."""
    for length in range(min(len(text), max(map(len, stop)) - 1), 0, -1):
        if any(candidate.startswith(text[-length:]) for candidate in stop):
            return length
    return 0
