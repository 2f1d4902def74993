"""Takes tool calls out of an answer's text, with mlx-lm's parser for the model."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ToolCall:
    """A tool that the model wants to have called. `arguments_json` is a JSON object."""

    id: str
    name: str
    arguments_json: str


class ToolText:
    """Text outside of tool calls goes on at once, except for what may yet become the start of one."""

    def __init__(self, tokenizer: Any, tools: list[dict[str, Any]]) -> None:
        """For a tokenizer with `has_tool_calling`."""
        self.calls: list[ToolCall] = []
        self._start = str(tokenizer.tool_call_start)
        self._end = str(tokenizer.tool_call_end or "")
        self._parse = tokenizer.tool_parser
        self._tools = tools
        self._held = ""
        self._inside = False

    def add(self, text: str) -> str:
        """What may be shown of this text."""
        self._held += text
        shown = ""
        while True:
            mark = self._end if self._inside else self._start
            at = self._held.find(mark) if mark else -1
            if at < 0:
                return shown + self._release(mark)
            before, self._held = self._held[:at], self._held[at + len(mark) :]
            shown += self._take(before) if self._inside else before
            self._inside = not self._inside

    def finish(self) -> str:
        """What is left at the end. A call that was begun counts: some models leave it open."""
        rest, self._held = self._held, ""
        if not self._inside:
            return rest
        self._inside = False
        return self._take(rest)

    def _release(self, mark: str) -> str:
        if self._inside:
            return ""
        keep = next(
            (
                length
                for length in range(min(len(mark) - 1, len(self._held)), 0, -1)
                if mark.startswith(self._held[-length:])
            ),
            0,
        )
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def _take(self, content: str) -> str:
        """Reads a call. What is none is text after all."""
        try:
            parsed = self._parse(content, self._tools)
            found = parsed if isinstance(parsed, list) else [parsed]
            calls = [call_of(call) for call in found]
        except Exception:
            return f"{self._start}{content}{self._end}"
        self.calls += calls
        return ""


def call_of(parsed: dict[str, Any]) -> ToolCall:
    """What mlx-lm's parsers give. Raises KeyError or TypeError when it is no call."""
    arguments = parsed["arguments"]
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(str(parsed.get("id") or f"call_{uuid.uuid4().hex[:24]}"), str(parsed["name"]), text)
