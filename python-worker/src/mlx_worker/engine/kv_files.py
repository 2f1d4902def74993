"""Kept prompts on disk, so that a worker that starts again starts warm.

One safetensors file for each edge of the prefix tree, in a folder named by the model's fingerprint: what
another model, adapter, tokenizer or chat template made is never read. A file's name ends with the digest of
its content, so a file that is cut short or was changed is noticed, reported and removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlx_worker.engine.kv_file import (
    SUFFIX,
    EdgeState,
    KeptEdge,
    content_of,
    file_name,
    kept_edge,
    name_of,
    state_of,
)
from mlx_worker.engine.prefix_edge import Edge
from mlx_worker.engine.prefix_tree import PrefixTree
from mlx_worker.logs import Logger
from mlx_worker.slices import Slices


@dataclass(frozen=True)
class Written:
    """What was written of an edge last, and under which name."""

    state: EdgeState
    name: str


class KvFiles:
    """Bounded by `most_bytes`; what was used longest ago goes first. Used in the engine's thread only."""

    def __init__(
        self, folder: Path, most_bytes: int, tree: PrefixTree, logger: Logger, on_ready: Callable[[], None]
    ) -> None:
        """`on_ready` is called, in another thread, whenever the disk is ready for more."""
        self._folder = folder
        self._most_bytes = most_bytes
        self._tree = tree
        self._logger = logger
        self._on_ready = on_ready
        self._fingerprints: dict[str, str] = {}
        self._written: dict[Edge, Written] = {}
        self._settled_version = -1
        # Bytes go to the disk there, so that the engine waits for no disk.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="kv-files")
        self._writing: Future[None] | None = None

    @property
    def pending(self) -> bool:
        """Whether something was kept that is not on disk, and the disk is ready for it."""
        return self._tree.version != self._settled_version and (self._writing is None or self._writing.done())

    def restore(self, model: str, fingerprint: str) -> Slices[int]:
        """Reads what an earlier process kept, as far as memory's budget goes, one file in each slice.

        Returns how many edges there are of it. Ends early when the model goes meanwhile.
        """
        if self._fingerprints.get(model) == fingerprint:
            return 0
        self._fingerprints[model] = fingerprint
        folder = self._folder / fingerprint
        files = sorted(folder.glob(f"*{SUFFIX}"), key=used_at, reverse=True) if folder.is_dir() else []
        entries, left = [], self._tree.most_bytes - self._tree.nbytes
        for file in files:
            entry = self._read(file)
            left -= 0 if entry is None else entry.nbytes
            if left < 0:
                break
            if entry is not None:
                entries.append(entry)
            yield
        grafted = 0
        # Beginnings first: what goes on from one needs it.
        for entry in sorted(entries, key=lambda entry: len(entry.path)):
            if self._fingerprints.get(model) != fingerprint:
                break
            grafted += self._graft((model, entry.tenant), entry)
            yield
        return grafted

    def _graft(self, scope: Hashable, entry: KeptEdge) -> bool:
        if not self._tree.graft(scope, entry.path, entry.tokens, entry.layers, entry.logits, entry.pinned):
            return False
        parts = self._tree.match(scope, [*entry.path, *entry.tokens]).parts
        if parts and list(parts[-1][0].tokens) == entry.tokens:
            # It is on disk already, under this name.
            self._written[parts[-1][0]] = Written(state_of(entry), entry.name)
        return True

    def save_one(self) -> None:
        """Hands an edge to the writer that is not on disk, in the order of use: the oldest files go first."""
        edges = {edge for edge in self._tree.edges() if scope_model(edge) in self._fingerprints}
        for gone in [edge for edge in self._written if edge not in edges]:
            # Its file stays: it may be wanted after a restart, and the disk has a budget of its own.
            # But a pin that was taken away does not come back.
            written = self._written.pop(gone)
            if written.state.pinned and not gone.pinned and scope_model(gone) in self._fingerprints:
                self._submit(self._remove, self._folder_of(gone), written.name)
        unsaved = [edge for edge in edges if not self._is_on_disk(edge)]
        if not unsaved:
            self._settled_version = self._tree.version
            return
        edge = min(unsaved, key=lambda edge: edge.used_at)
        name, before = name_of(edge), self._written.get(edge)
        self._written[edge] = Written(state_of(edge), name)
        old = None if before is None else before.name
        self._submit(self._write, self._folder_of(edge), name, old, content_of(edge))

    def _is_on_disk(self, edge: Edge) -> bool:
        written = self._written.get(edge)
        return written is not None and written.state == state_of(edge)

    def _folder_of(self, edge: Edge) -> Path:
        return self._folder / self._fingerprints[scope_model(edge)]

    def _submit(self, work: Callable[..., None], *arguments: object) -> None:
        self._writing = self._writer.submit(work, *arguments)
        self._writing.add_done_callback(lambda _: self._on_ready())

    def forget_model(self, model: str) -> None:
        """Writes nothing more of a model that is gone; its files stay for when it comes back."""
        self._fingerprints.pop(model, None)

    def save_all(self) -> None:
        """Writes all that is not on disk, and waits for it."""
        while self._tree.version != self._settled_version:
            self.save_one()
            if self._writing is not None:
                self._writing.result()
        self._writer.shutdown()

    def _write(self, folder: Path, name: str, before: str | None, content: bytes) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if before is not None:
                self._remove(folder, before)
            self._make_room(len(content))
            if len(content) > self._most_bytes:
                return
            temporary = folder / f"{name}.part"
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
            temporary.rename(folder / file_name(name, content))
        except OSError as error:
            self._logger.warn(
                "a kept prompt could not be written to disk", reason=error.strerror or str(error)
            )

    def _remove(self, folder: Path, name: str) -> None:
        for file in folder.glob(f"{name}-*{SUFFIX}"):
            file.unlink(missing_ok=True)

    def _make_room(self, needed: int) -> None:
        """All models' files together; the ones of models that are gone age like the others."""
        files = sorted(self._folder.glob(f"*/*{SUFFIX}"), key=used_at)
        total = sum(size_of(file) for file in files) + needed
        for file in files:
            if total <= self._most_bytes:
                return
            total -= size_of(file)
            file.unlink(missing_ok=True)

    def _read(self, file: Path) -> KeptEdge | None:
        """What a file holds; None, with a line in the log, when it cannot be used."""
        try:
            return kept_edge(file.stem, file.read_bytes())
        except Exception as error:
            self._logger.warn(
                "a kept prompt on disk cannot be used and is removed", file=file.name, reason=str(error)
            )
            with suppress(OSError):
                file.unlink(missing_ok=True)
            return None


def scope_model(edge: Edge) -> str:
    """The model that made an edge."""
    assert isinstance(edge.scope, tuple)
    return str(edge.scope[0])


def used_at(file: Path) -> float:
    """When a file was written; 0 for one that has just gone."""
    with suppress(OSError):
        return file.stat().st_mtime
    return 0.0


def size_of(file: Path) -> int:
    """Bytes of a file; 0 for one that has just gone."""
    with suppress(OSError):
        return file.stat().st_size
    return 0
