"""What goes into the engine and what comes out of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from mlx_worker.engine.constraint import Constraint
from mlx_worker.engine.draw import TokenLogprobs
from mlx_worker.engine.scheduler import Priority
from mlx_worker.engine.token_stream import TokenStream
from mlx_worker.engine.tool_text import ToolCall
from mlx_worker.sampling import SamplingOptions

if TYPE_CHECKING:
    from mlx_worker.engine.warm_queue import WarmPrompt


class EndReason(Enum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool calls"


@dataclass(frozen=True)
class GeneratedToken:
    """A token id and the text that it completes."""

    id: int
    text: str
    logprobs: TokenLogprobs | None = None


@dataclass(frozen=True)
class Completion:
    """How a request ended, and where its time went, in milliseconds since its arrival."""

    reason: EndReason
    completion_tokens: int
    queue_ms: float
    prefill_ms: float
    cached_tokens: int = 0
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class Stages:
    """Which stages of the TTFT accelerator are on for a request."""

    warm_queue: bool = False
    speculation: bool = False
    kv_prep: bool = False


@dataclass(eq=False)
class GenerationRequest:
    """One request. `prompt` holds token ids; `arrived_at` is time.monotonic() at its arrival."""

    id: str
    prompt: list[int]
    options: SamplingOptions
    stream: TokenStream
    model: str = ""
    tenant: str = ""
    priority: Priority = Priority.NORMAL
    stages: Stages = Stages()
    allow_speculation: bool = False
    constraint: Constraint | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    # Tokens of the answer that the caller has already, from another worker.
    resume: list[int] = field(default_factory=list)
    # What Prepare has made of the prompt, while the request waited elsewhere.
    warm: WarmPrompt | None = None
    # Set by the engine: it has looked at the prompt, and the last position is worth keeping for a repeat.
    examined: bool = False
    worth_keeping: bool = False
    # It has found the warm queue full, which is counted once.
    overflowed: bool = False
    arrived_at: float = field(default_factory=time.monotonic)
    tokenize_ms: float = 0.0
    begun_at: float | None = None
    first_drawn_at: float | None = None
    first_read_at: float | None = None
    # Name and time.monotonic() of what happened on the way to the first token.
    events: list[tuple[str, float]] = field(default_factory=list)

    @property
    def known(self) -> list[int]:
        """What is prefilled: the prompt, and the part of the answer that there is already."""
        return self.prompt + self.resume if self.resume else self.prompt

    @property
    def queue_ms(self) -> float:
        """From the end of tokenisation to the begin of prefill."""
        begun = self.begun_at or self.arrived_at
        return max(0.0, (begun - self.arrived_at) * 1000 - self.tokenize_ms)

    @property
    def prefill_ms(self) -> float:
        """From the begin of prefill to the draw of the first token."""
        if self.begun_at is None or self.first_drawn_at is None:
            return 0.0
        return (self.first_drawn_at - self.begun_at) * 1000

    @property
    def first_emit_ms(self) -> float:
        """From the draw of the first token to its way to the reader; 0 before that."""
        if self.first_drawn_at is None or self.first_read_at is None:
            return 0.0
        return (self.first_read_at - self.first_drawn_at) * 1000

    def has(self, name: str) -> bool:
        """Whether this has happened."""
        return any(noted == name for noted, _ in self.events)

    def note(self, name: str) -> None:
        """Something happened on the way to the first token."""
        self.events.append((name, time.monotonic()))
