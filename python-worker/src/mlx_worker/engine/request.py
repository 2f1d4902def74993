"""What goes into the engine and what comes out of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum

from mlx_worker.engine.token_stream import TokenStream
from mlx_worker.sampling import SamplingOptions


class EndReason(Enum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class GeneratedToken:
    """A token id and the text that it completes."""

    id: int
    text: str


@dataclass(frozen=True)
class Completion:
    """How a request ended, and where its time went, in milliseconds since its arrival."""

    reason: EndReason
    completion_tokens: int
    queue_ms: float
    prefill_ms: float


@dataclass(eq=False)
class GenerationRequest:
    """One request. `prompt` holds token ids; `arrived_at` is time.monotonic() at its arrival."""

    id: str
    prompt: list[int]
    options: SamplingOptions
    stream: TokenStream
    arrived_at: float = field(default_factory=time.monotonic)
    tokenize_ms: float = 0.0
    first_read_at: float | None = None
