"""A linear layer whose weight lies as the product reads it."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn


class PackedLinear(nn.Module):  # type: ignore[misc]  # MLX has no types here
    """`weight` is [inputs, outputs]: BLAS packs it for every product, and faster when it need not turn it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = mx.contiguous(linear.weight.T)
        if "bias" in linear:
            self.bias = linear.bias

    def __call__(self, x: mx.array) -> mx.array:
        product = x @ self.weight
        return product + self.bias if "bias" in self else product
