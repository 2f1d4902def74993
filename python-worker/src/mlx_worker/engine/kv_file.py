"""One kept edge of the prefix tree as a safetensors file; its name ends with the digest of its content."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from mlx_worker.engine.prefix_cache import SHARED
from mlx_worker.engine.prefix_edge import Edge, Layer

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class KeptEdge:
    """What a file holds. `name` is that of its edge, `nbytes` the size of the file."""

    name: str
    nbytes: int
    tenant: str
    path: list[int]
    tokens: list[int]
    layers: list[Layer]
    logits: mx.array | None
    pinned: bool


@dataclass(frozen=True)
class EdgeState:
    """What of an edge may change: a split takes tokens from its beginning, and never gives any back."""

    tokens: int
    logits: bool
    pinned: bool


def state_of(edge: Edge | KeptEdge) -> EdgeState:
    """Tells cheaply whether an edge is still what was written of it."""
    return EdgeState(len(edge.tokens), edge.logits is not None, edge.pinned)


def name_of(edge: Edge) -> str:
    """Changes with whatever of an edge is written. Reads the whole path, so remember it."""
    about = (tenant_of(edge), path_to(edge), edge.tokens, edge.logits is not None, edge.pinned)
    return digest(repr(about).encode())


def file_name(name: str, content: bytes) -> str:
    """An edge's name and its content's digest."""
    return f"{name}-{digest(content)}{SUFFIX}"


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


def kept_edge(stem: str, content: bytes) -> KeptEdge:
    """What a file holds; `stem` is its name without the suffix. Raises when it is not ours, or harmed."""
    name, _, written = stem.rpartition("-")
    if written != digest(content):
        raise ValueError("its content is not what was written")
    loaded: Any = mx.load(io.BytesIO(content), format="safetensors", return_metadata=True)
    arrays, metadata = loaded
    about = json.loads(metadata["about"])
    layers = [(arrays[f"keys.{at}"], arrays[f"values.{at}"]) for at in range(about["layers"])]
    mx.eval(layers)
    return KeptEdge(
        name=name,
        nbytes=len(content),
        tenant=about["tenant"],
        path=about["path"],
        tokens=about["tokens"],
        layers=layers,
        logits=arrays.get("logits"),
        pinned=bool(about["pinned"]),
    )


def path_to(edge: Edge) -> list[int]:
    """The tokens before an edge's own."""
    parts, above = [], edge.parent
    while above is not None:
        parts.append(above.tokens)
        above = above.parent
    return [token for part in reversed(parts) for token in part]


def tenant_of(edge: Edge) -> str:
    """The tenant that an edge belongs to."""
    return str(edge.scope[1]) if isinstance(edge.scope, tuple) else SHARED


def digest(content: bytes) -> str:
    """A name for some bytes."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
