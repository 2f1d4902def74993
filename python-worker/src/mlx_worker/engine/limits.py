"""The limits that may be changed while the worker runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlx_worker.errors import ServiceError

# Name -> least and most. Bytes of 0: no memory limit, no kept prompts.
RANGES: dict[str, tuple[float, float]] = {
    "max_batch": (1, 1_024),
    "prefill_chunk": (16, 65_536),
    "decode_gap_ms": (1, 60_000),
    "max_queue": (1, 100_000),
    "max_queue_tokens": (1, 2**40),
    "memory_limit_bytes": (0, 2**50),
    "prefix_cache_bytes": (0, 2**50),
}


@dataclass(frozen=True)
class Limits:
    """See SetLimits in worker.proto for their meaning."""

    max_batch: int = 16
    prefill_chunk: int = 512
    decode_gap_ms: float = 50.0
    max_queue: int = 64
    max_queue_tokens: int = 1_000_000
    memory_limit_bytes: int = 0
    prefix_cache_bytes: int = 256 * 2**20

    def changed(self, **values: float) -> Limits:
        """With other values. Raises ServiceError for one that is out of range."""
        for name, value in values.items():
            least, most = RANGES[name]
            if not least <= value <= most:
                raise ServiceError("LIMIT_INVALID", name=name, value=value, least=least, most=most)
        return replace(self, **values)  # type: ignore[arg-type]  # checked above, by name
