"""What the prefix tree is made of: edges that own their slices, and what is found along them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import mlx.core as mx

# Keys and values of one layer, [1, heads, tokens, width].
Layer = tuple[mx.array, mx.array]


@dataclass(eq=False)
class Edge:
    """The tokens that lead to a node, and what the model made of them."""

    tokens: tuple[int, ...]
    layers: list[Layer]
    parent: Edge | None
    children: dict[int, Edge] = field(default_factory=dict)
    # Logits after the edge's last token, [1, vocabulary].
    logits: mx.array | None = None
    pinned: bool = False
    used_at: int = 0
    scope: Hashable = None

    @property
    def nbytes(self) -> int:
        """Memory that the edge owns."""
        kept = 0 if self.logits is None else int(self.logits.nbytes)
        return kept + sum(int(keys.nbytes + values.nbytes) for keys, values in self.layers)


@dataclass(frozen=True)
class Match:
    """What is known of a prompt: its first `length` tokens, and the logits after them when all are known."""

    length: int
    parts: list[tuple[Edge, int]]
    logits: mx.array | None

    def layers(self, length: int, room: int) -> list[Layer]:
        """Fresh arrays with the keys and values of the first `length` tokens, and empty room after them."""
        pieces: list[list[Layer]] = []
        left = length
        for edge, used in self.parts:
            take = min(left, used)
            if take:
                pieces.append([(keys[..., :take, :], values[..., :take, :]) for keys, values in edge.layers])
            left -= take
        return [
            (
                joined([piece[index][0] for piece in pieces], room),
                joined([piece[index][1] for piece in pieces], room),
            )
            for index in range(len(pieces[0]))
        ]


def joined(arrays: list[mx.array], room: int) -> mx.array:
    """One array of its own, from parts along the tokens, with empty room at its end."""
    rows, heads, _, width = arrays[0].shape
    empty = mx.zeros((rows, heads, max(1, room), width), arrays[0].dtype)
    return mx.concatenate([*arrays, empty], axis=2)


def shared_length(edge_tokens: Sequence[int], tokens: Sequence[int], start: int) -> int:
    """How many tokens of an edge agree with `tokens` from `start` on."""
    most = min(len(edge_tokens), len(tokens) - start)
    if tuple(tokens[start : start + most]) == tuple(edge_tokens[:most]):
        return most
    return next(index for index in range(most) if edge_tokens[index] != tokens[start + index])
