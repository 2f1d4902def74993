"""Buckets for partial rollouts, bit for bit the same as in the TypeScript library.

A key falls into one of 100,000 fine buckets, so a percentage has steps of 0.001. For whole percentages
the answer is that of the plain rule "first 32 bits of the md5, modulo 100, below the percentage".
"""

from __future__ import annotations

import hashlib
from decimal import Decimal

FINE_BUCKETS = 100_000


def hash32(text: str) -> int:
    """First 32 bits, big endian, of the md5 of the UTF-8 text: 0 to 2**32 - 1."""
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:4], "big")


def fine_bucket(hash_value: int) -> int:
    """Fine bucket, 0 to 99,999, of a 32-bit hash."""
    return (hash_value % 100) * 1000 + (hash_value // 100) % 1000


def bucket(key: str, seed: str) -> int:
    """Fine bucket of a key for a flag that has a seed of its own."""
    return fine_bucket(hash32(f"{key}:{seed}"))


def bucket_by_flag(flag: str, key: str) -> int:
    """Fine bucket of a key for a flag without a seed: the flag's name takes its place."""
    return fine_bucket(hash32(f"{flag}:{key}"))


def is_in_rollout(fine: int, percentage: float) -> bool:
    """Whether a fine bucket lies within `percentage`.

    Raises ValueError when the percentage is outside 0 to 100 or has more than three decimals.
    """
    if not 0 <= percentage <= 100:
        raise ValueError(f"percentage {percentage} is not between 0 and 100")
    threshold = Decimal(repr(percentage)) * 1000
    if threshold != int(threshold):
        raise ValueError(f"percentage {percentage} has more than three decimals")
    return fine < int(threshold)
