"""The models that are loaded, within a byte budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlx_lm.models.cache import make_prompt_cache

from mlx_worker.cpu_network.linear import drop_all_panels
from mlx_worker.cpu_network.rewrite import PANEL_BYTES
from mlx_worker.engine.decode_batch import DecodeBatch
from mlx_worker.engine.forward import Forward
from mlx_worker.engine.prefix_cache import can_be_cut
from mlx_worker.errors import ServiceError
from mlx_worker.model import (
    LoadedModel,
    ModelFiles,
    bytes_of,
    load_in_slices,
    model_id,
    weight_bytes_on_disk,
)
from mlx_worker.slices import Slices


@dataclass(eq=False)
class ServedModel:
    """A loaded model with all that the engine needs to run it."""

    model: LoadedModel
    forward: Forward
    batch: DecodeBatch
    can_be_cut: bool
    bytes_per_token: int
    pinned: bool = False
    used_at: float = 0.0

    @property
    def id(self) -> str:
        """The name by which clients ask for it."""
        return self.model.id

    def new_caches(self) -> list[Any]:
        """Empty caches for one prompt."""
        return list(make_prompt_cache(self.model.network))


def serve_model(
    files: ModelFiles, panel_room: Callable[[int], int] = lambda weights: PANEL_BYTES
) -> Slices[ServedModel]:
    """Loads a model, with `panel_room` as for `load_in_slices`. Raises what kept it from loading."""
    model = yield from load_in_slices(files, panel_room)
    forward = Forward(model.network)
    return ServedModel(
        model,
        forward,
        DecodeBatch(forward),
        can_be_cut(model.network),
        forward.bytes_per_token(),
        used_at=time.monotonic(),
    )


class ModelStore:
    """The first model is the default one, and stays. Used in the engine's thread only.

    `on_gone` is called with each model that is no longer served.
    """

    def __init__(self, most_bytes: int, memory_limit: Callable[[], int] = lambda: 0) -> None:
        """`memory_limit`: that of the whole worker in bytes, 0 for none."""
        self.most_bytes = most_bytes
        self._memory_limit = memory_limit
        self.on_gone: Callable[[ServedModel], None] = lambda served: None
        self._models: dict[str, ServedModel] = {}

    def __iter__(self) -> Any:
        return iter(list(self._models.values()))

    @property
    def default(self) -> ServedModel:
        """The model of requests that name none."""
        return next(iter(self._models.values()))

    @property
    def weight_bytes(self) -> int:
        """Memory of all weights."""
        return sum(served.model.weight_bytes for served in self._models.values())

    def named(self, name: str) -> ServedModel:
        """A loaded model; an empty name means the default. Raises ServiceError MODEL_NOT_FOUND."""
        served = self.default if name == "" else self._models.get(name)
        if served is None:
            raise ServiceError("MODEL_NOT_FOUND", model=name, served=self.default.id)
        return served

    def load(
        self, files: ModelFiles, pin: bool, busy: Callable[[], frozenset[str]]
    ) -> Slices[tuple[ServedModel, list[str]]]:
        """Loads a model, and unloads idle ones to make room, the one that was used longest ago first.

        One of the same name with another adapter is replaced. Returns it and the names of those that went.
        Raises ServiceError MODEL_TOO_LARGE or MODEL_IN_USE.
        """
        name = model_id(files.name)
        known = self._models.get(name)
        if known is not None and known.model.adapter == files.adapter:
            known.pinned = known.pinned or pin
            return known, []
        if known is not None:
            self._check_idle(known, busy())
        gone = self._make_room(name, weight_bytes_on_disk(files), busy()) if self._models else []
        served = yield from serve_model(files, self._panel_room)
        if name in self._models:
            # Requests may have come for it meanwhile.
            self.unload(name, busy())
        gone += self._make_room(name, served.model.weight_bytes, busy())
        served.pinned = pin
        self._models[name] = served
        return served, gone

    def unload(self, name: str, busy: frozenset[str]) -> None:
        """Raises ServiceError MODEL_NOT_FOUND or MODEL_IN_USE."""
        served = self.named(name)
        self._check_idle(served, busy)
        self._remove(served)

    def hold_memory_limit(self) -> None:
        """Frees all panels when weights take more than half of a memory limit that has been lowered."""
        limit = self._memory_limit()
        if not limit or self.weight_bytes <= limit // 2:
            return
        for served in self._models.values():
            drop_all_panels(served.model.network)
            served.model.weight_bytes = bytes_of(served.model.network)

    def _panel_room(self, weights: int) -> int:
        """All weights and panels stay within the budget, and take half of the memory limit at most."""
        room, taken = PANEL_BYTES, self.weight_bytes + weights
        if self.most_bytes:
            room = min(room, self.most_bytes - taken)
        if limit := self._memory_limit():
            room = min(room, limit // 2 - taken)
        return max(0, room)

    def _check_idle(self, served: ServedModel, busy: frozenset[str]) -> None:
        if served is self.default or served.id in busy:
            raise ServiceError("MODEL_IN_USE", model=served.id)

    def _remove(self, served: ServedModel) -> None:
        del self._models[served.id]
        self.on_gone(served)

    def _make_room(self, name: str, needed: int, busy: frozenset[str]) -> list[str]:
        if not self.most_bytes:
            return []
        gone = []
        idle = [s for s in list(self._models.values())[1:] if not s.pinned and s.id not in busy]
        for served in sorted(idle, key=lambda served: served.used_at):
            if self.weight_bytes + needed <= self.most_bytes:
                break
            self._remove(served)
            gone.append(served.id)
        if self._models and self.weight_bytes + needed > self.most_bytes:
            raise ServiceError("MODEL_TOO_LARGE", model=name, needed=needed, budget=self.most_bytes)
        return gone
