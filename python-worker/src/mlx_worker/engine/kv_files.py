"""Kept prompts on disk, so that a worker that starts again starts warm.

One safetensors file for each edge of the prefix tree, in a folder named by the model's fingerprint: what
another model, adapter, tokenizer or chat template made is never read. A file's name ends with the digest of
its content, so a file that is cut short or was changed is noticed, reported and removed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_worker.engine.prefix_cache import SHARED
from mlx_worker.engine.prefix_tree import Edge, PrefixTree
from mlx_worker.logs import Logger

SUFFIX = ".safetensors"


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
        # Edge -> the name under which it was written last.
        self._written: dict[Edge, str] = {}
        self._settled_version = -1
        # Bytes go to the disk there, so that the engine waits for no disk.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="kv-files")
        self._writing: Future[None] | None = None

    @property
    def pending(self) -> bool:
        """Whether something was kept that is not on disk, and the disk is ready for it."""
        return self._tree.version != self._settled_version and (self._writing is None or self._writing.done())

    def restore(self, model: str, fingerprint: str) -> int:
        """Reads what an earlier process kept, as far as memory's budget goes. Returns how many edges."""
        if self._fingerprints.get(model) == fingerprint:
            return 0
        self._fingerprints[model] = fingerprint
        folder = self._folder / fingerprint
        files = sorted(folder.glob(f"*{SUFFIX}"), key=used_at, reverse=True) if folder.is_dir() else []
        entries, left = [], self._tree.most_bytes - self._tree.nbytes
        for file in files:
            entry = self._read(file)
            left -= 0 if entry is None else entry[2]
            if left < 0:
                break
            if entry is not None:
                entries.append(entry)
        # Beginnings first: what goes on from one needs it.
        grafted = 0
        for about, layers, _, logits in sorted(entries, key=lambda entry: len(entry[0]["path"])):
            scope = (model, about["tenant"])
            pinned = bool(about["pinned"])
            grafted += self._tree.graft(scope, about["path"], about["tokens"], layers, logits, pinned)
        return grafted

    def save_one(self) -> None:
        """Hands an edge to the writer that is not on disk, in the order of use: the oldest files go first."""
        edges = {edge for edge in self._tree.edges() if scope_model(edge) in self._fingerprints}
        for gone in [edge for edge in self._written if edge not in edges]:
            # Its file stays: it may be wanted after a restart, and the disk has a budget of its own.
            del self._written[gone]
        unsaved = [edge for edge in edges if self._written.get(edge) != name_of(edge)]
        if not unsaved:
            self._settled_version = self._tree.version
            return
        edge = min(unsaved, key=lambda edge: edge.used_at)
        name, before = name_of(edge), self._written.get(edge)
        self._written[edge] = name
        folder = self._folder / self._fingerprints[scope_model(edge)]
        self._writing = self._writer.submit(self._write, folder, name, before, content_of(edge))
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
                for old in folder.glob(f"{before}-*{SUFFIX}"):
                    old.unlink(missing_ok=True)
            self._make_room(len(content))
            if len(content) > self._most_bytes:
                return
            temporary = folder / f"{name}.part"
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
            temporary.rename(folder / f"{name}-{digest(content)}{SUFFIX}")
        except OSError as error:
            self._logger.warn(
                "a kept prompt could not be written to disk", reason=error.strerror or str(error)
            )

    def _make_room(self, needed: int) -> None:
        """All models' files together; the ones of models that are gone age like the others."""
        files = sorted(self._folder.glob(f"*/*{SUFFIX}"), key=used_at)
        total = sum(size_of(file) for file in files) + needed
        for file in files:
            if total <= self._most_bytes:
                return
            total -= size_of(file)
            file.unlink(missing_ok=True)

    def _read(self, file: Path) -> tuple[dict[str, Any], list[Any], int, mx.array | None] | None:
        """What a file holds and how large it is; None, with a line in the log, when it cannot be used."""
        try:
            content = file.read_bytes()
            if file.stem.rsplit("-", 1)[-1] != digest(content):
                raise ValueError("its content is not what was written")
            loaded: Any = mx.load(io.BytesIO(content), format="safetensors", return_metadata=True)
            arrays, metadata = loaded
            about = json.loads(metadata["about"])
            layers = [(arrays[f"keys.{at}"], arrays[f"values.{at}"]) for at in range(about["layers"])]
            mx.eval(layers)
            return about, layers, len(content), arrays.get("logits")
        except Exception as error:
            self._logger.warn(
                "a kept prompt on disk cannot be used and is removed", file=file.name, reason=str(error)
            )
            with suppress(OSError):
                file.unlink(missing_ok=True)
            return None


def content_of(edge: Edge) -> bytes:
    """An edge as a safetensors file."""
    arrays = {f"keys.{at}": keys for at, (keys, _) in enumerate(edge.layers)}
    arrays |= {f"values.{at}": values for at, (_, values) in enumerate(edge.layers)}
    if edge.logits is not None:
        arrays["logits"] = edge.logits
    about = {
        "tenant": tenant_of(edge),
        "path": path_to(edge),
        "tokens": list(edge.tokens),
        "layers": len(edge.layers),
        "pinned": edge.pinned,
    }
    buffer = io.BytesIO()
    mx.save_safetensors(buffer, arrays, {"about": json.dumps(about)})
    return buffer.getvalue()


def name_of(edge: Edge) -> str:
    """Changes with whatever of an edge is written."""
    about = (tenant_of(edge), path_to(edge), edge.tokens, edge.logits is not None, edge.pinned)
    return digest(repr(about).encode())


def path_to(edge: Edge) -> list[int]:
    """The tokens before an edge's own."""
    parts, above = [], edge.parent
    while above is not None:
        parts.append(above.tokens)
        above = above.parent
    return [token for part in reversed(parts) for token in part]


def scope_model(edge: Edge) -> str:
    """The model that made an edge."""
    assert isinstance(edge.scope, tuple)
    return str(edge.scope[0])


def tenant_of(edge: Edge) -> str:
    """The tenant that an edge belongs to."""
    return str(edge.scope[1]) if isinstance(edge.scope, tuple) else SHARED


def digest(content: bytes) -> str:
    """A name for some bytes."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


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
