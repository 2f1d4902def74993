"""What the three stages did, counted in the engine's thread and read from any."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class StageStatistics:
    """Requests and tokens since the start."""

    warm_queued: int = 0
    warmed: int = 0
    warm_expired: int = 0
    warm_overflowed: int = 0
    prefix_hits: int = 0
    prefix_misses: int = 0
    reused_tokens: int = 0
    prepared_prompts: int = 0
    computed_tokens: int = 0
