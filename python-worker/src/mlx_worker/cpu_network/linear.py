"""A linear layer whose weight lies as the product reads it."""

from __future__ import annotations

import time

import mlx.core as mx
import mlx.nn as nn

# OpenBLAS computes a product of at most so many multiplications without packing its factors first, where the
# CPU has AVX-512. Measured with 0.3.34: a product a little larger takes twice the time.
SMALL_PRODUCT = 1_000_000
# Outputs in a panel, the wider the better, as long as a short prompt's product with one of them is small.
WIDTHS = (64, 32, 16)
SHORT_PROMPT = 20
# What a trial must show of the time without panels, and with how many rows it is made.
MOST_TIME = 0.9
TRIAL_ROWS, TRIALS = 8, 5


class PackedLinear(nn.Module):  # type: ignore[misc]  # MLX has no types here
    """`weight` is [inputs, outputs]: BLAS packs it for every product, and faster when it need not turn it.

    `panels`, once there, are the same numbers as [panels, inputs, width]. A product of up to `most_rows` rows
    reads them one after the other, each from one place in memory and without packing.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = mx.contiguous(linear.weight.T)
        self.most_rows = 0
        if "bias" in linear:
            self.bias = linear.bias

    def __call__(self, x: mx.array) -> mx.array:
        rows = x.size // x.shape[-1]
        product = in_panels(x, self.panels) if rows <= self.most_rows else x @ self.weight
        return product + self.bias if "bias" in self else product

    @property
    def width(self) -> int | None:
        """Outputs that a panel would have. None: panels would be no gain."""
        inputs, outputs = self.weight.shape
        if inputs * outputs * SHORT_PROMPT <= SMALL_PRODUCT:
            return None
        fits = (width for width in WIDTHS if inputs * width * SHORT_PROMPT <= SMALL_PRODUCT)
        return next((width for width in fits if outputs % width == 0), None)

    def add_panels(self, width: int) -> None:
        """Keeps the weight in panels too, which takes as much memory again."""
        inputs, outputs = self.weight.shape
        self.panels = mx.contiguous(self.weight.reshape(inputs, outputs // width, width).swapaxes(0, 1))
        self.most_rows = SMALL_PRODUCT // (inputs * width)

    def drop_panels(self) -> None:
        """As without them."""
        self.most_rows = 0
        del self.panels


def drop_all_panels(network: nn.Module) -> None:
    """Frees the memory of all panels of a network."""
    for module in network.modules():
        if isinstance(module, PackedLinear) and module.most_rows:
            module.drop_panels()


def in_panels(x: mx.array, panels: mx.array) -> mx.array:
    """The product of x, [..., inputs], with a weight in panels."""
    product = x.reshape(1, -1, x.shape[-1]) @ panels
    return product.swapaxes(0, 1).reshape(*x.shape[:-1], -1)


def panels_pay(linear: PackedLinear) -> bool:
    """Whether a few rows take clearly less time with this layer's panels. It is tried out."""
    x = mx.ones((TRIAL_ROWS, linear.weight.shape[0]))
    mx.eval(x, linear.weight, linear.panels)
    with_panels, without = [], []
    for _ in range(TRIALS):
        without.append(seconds_of(x @ linear.weight))
        with_panels.append(seconds_of(in_panels(x, linear.panels)))
    return min(with_panels) <= MOST_TIME * min(without)


def seconds_of(result: mx.array) -> float:
    """How long an array takes to compute."""
    started = time.perf_counter()
    mx.eval(result)
    return time.perf_counter() - started
