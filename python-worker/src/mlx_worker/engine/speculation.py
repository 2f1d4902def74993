"""Which prompts are worth keeping ready, and which one probably comes next. No MLX and no clock.

Nothing here can change an answer. A stored first position gives the same distribution as the computed one,
and a wrong guess costs idle time only.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# A prompt that came this often is frequent.
FREQUENT = 2
SKETCH_ROWS = 4
SKETCH_COLUMNS = 2048
# After so many prompts all counts are halved, so that what was frequent once does not stay so.
SKETCH_HALF_LIFE = 8192
LONGEST_CANDIDATE_TOKENS = 8192

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class SpeculationSettings:
    """`ttft_accelerator.speculation` of config/runtime.yaml."""

    enabled: bool = True
    allowlist_only: bool = True
    max_candidates: int = 1000
    min_confidence: float = 0.85
    decay_factor: float = 0.8


class CountSketch:
    """A count-min sketch: never too low, a fixed amount of memory for any number of prompts."""

    def __init__(self) -> None:
        self._rows = [array("L", [0] * SKETCH_COLUMNS) for _ in range(SKETCH_ROWS)]
        self._added = 0

    def add(self, digest: bytes) -> int:
        """Counts a prompt once more and returns how often it came, at most a little too much."""
        self._added += 1
        if self._added % SKETCH_HALF_LIFE == 0:
            self._rows = [array("L", [count // 2 for count in row]) for row in self._rows]
        counts = []
        for row, column in zip(self._rows, columns_of(digest), strict=True):
            row[column] += 1
            counts.append(row[column])
        return min(counts)


@dataclass
class Candidate:
    """A prompt that followed another one, and how surely it does."""

    prompt: Tokens
    confidence: float


class Speculation:
    """Counts, confidences and the allowlist; all bounded by `max_candidates`."""

    def __init__(self, settings: SpeculationSettings) -> None:
        self.settings = settings
        self.hits = 0
        self.misses = 0
        self.predictions = 0
        self.predictions_right = 0
        self._sketch = CountSketch()
        self._allowed: OrderedDict[bytes, None] = OrderedDict()
        self._successors: OrderedDict[tuple[str, str, bytes], Candidate] = OrderedDict()
        self._last: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    @property
    def candidates(self) -> int:
        """Prompts of which a successor is known."""
        return len(self._successors)

    @property
    def allowlisted(self) -> int:
        """Prompts on the allowlist."""
        return len(self._allowed)

    def allow(self, model: str, prompt: Sequence[int]) -> None:
        """Puts a prompt on the allowlist; the one that was put there first makes room."""
        self._allowed[digest_of(model, prompt)] = None
        self._allowed.move_to_end(digest_of(model, prompt))
        bound(self._allowed, self.settings.max_candidates)

    def disallow(self, model: str, prompt: Sequence[int]) -> None:
        """Takes a prompt off the allowlist."""
        self._allowed.pop(digest_of(model, prompt), None)

    def observe(self, model: str, tenant: str, prompt: Sequence[int]) -> bool:
        """A prompt arrived. True: its last position is worth keeping."""
        digest = digest_of(model, prompt)
        frequent = self._sketch.add(digest + tenant.encode()) >= FREQUENT
        self._learn(model, tenant, digest, tuple(prompt))
        if not self.settings.enabled:
            return False
        return digest in self._allowed or (frequent and not self.settings.allowlist_only)

    def count(self, hit: bool) -> None:
        """A prompt whose last position was worth keeping was found, or not."""
        if hit:
            self.hits += 1
        else:
            self.misses += 1

    def next_after(self, model: str, tenant: str, prompt: Sequence[int]) -> Tokens | None:
        """The prompt that follows this one with enough confidence."""
        if not self.settings.enabled:
            return None
        candidate = self._successors.get((model, tenant, digest_of(model, prompt)))
        if candidate is None or candidate.confidence < self.settings.min_confidence:
            return None
        return candidate.prompt

    def forget_model(self, model: str) -> None:
        """Drops what was learnt about a model that is gone."""
        for key in [key for key in self._successors if key[0] == model]:
            del self._successors[key]
        for who in [who for who in self._last if who[0] == model]:
            del self._last[who]

    def _learn(self, model: str, tenant: str, digest: bytes, prompt: Tokens) -> None:
        before = self._last.pop((model, tenant), None)
        self._last[(model, tenant)] = digest
        bound(self._last, self.settings.max_candidates)
        if before is None or len(prompt) > LONGEST_CANDIDATE_TOKENS:
            return
        key = (model, tenant, before)
        candidate = self._successors.pop(key, None)
        decay = self.settings.decay_factor
        if candidate is None:
            candidate = Candidate(prompt, 1 - decay)
        else:
            self._judge(candidate, prompt)
            if candidate.prompt == prompt:
                candidate.confidence += (1 - candidate.confidence) * (1 - decay)
            else:
                candidate.confidence *= decay
                if candidate.confidence < 1 - decay:
                    candidate = Candidate(prompt, 1 - decay)
        self._successors[key] = candidate
        bound(self._successors, self.settings.max_candidates)

    def _judge(self, candidate: Candidate, prompt: Tokens) -> None:
        if candidate.confidence >= self.settings.min_confidence:
            self.predictions += 1
            self.predictions_right += candidate.prompt == prompt


def bound(entries: OrderedDict[Any, Any], most: int) -> None:
    """Drops the oldest entries beyond `most`."""
    while len(entries) > most:
        entries.popitem(last=False)


def digest_of(model: str, prompt: Sequence[int]) -> bytes:
    """A name for a prompt; the prompt cannot be read from it."""
    content = array("L", prompt).tobytes()
    maker = hashlib.blake2b(model.encode(), digest_size=16).digest()
    return hashlib.blake2b(content, digest_size=16, person=maker).digest()


def columns_of(digest: bytes) -> list[int]:
    """One column for each row of the sketch."""
    spread = hashlib.blake2b(digest, digest_size=SKETCH_ROWS * 4).digest()
    return [
        int.from_bytes(spread[row * 4 : row * 4 + 4], "little") % SKETCH_COLUMNS for row in range(SKETCH_ROWS)
    ]
