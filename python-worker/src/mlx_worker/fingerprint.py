"""What makes a model the same model after a restart."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

from mlx_worker import __version__

# Of each weight so many values, spread over all of it: enough to tell two adapters apart, quick for any size.
SAMPLED_VALUES = 256


def fingerprint_of(network: Any, tokenizer: Any) -> str:
    """Differs when weights, adapter, configuration, vocabulary, chat template, MLX or this worker differ."""
    digest = hashlib.blake2b(__version__.encode(), digest_size=16)
    for package in ("mlx", "mlx-lm"):
        digest.update(f"{package} {version(package)}\n".encode())
    digest.update(repr(getattr(network, "args", "")).encode())
    for name, weights in tree_flatten(network.parameters()):
        digest.update(f"{name} {weights.shape} {weights.dtype}\n".encode())
        flat = weights.reshape(-1)
        step = max(1, flat.size // SAMPLED_VALUES)
        # In float32, since NumPy knows no bfloat16.
        digest.update(np.array(flat[::step].astype(mx.float32)).tobytes())
    for name, module in network.named_modules():
        # An adapter's strength is no weight.
        if isinstance(scale := getattr(module, "scale", None), int | float):
            digest.update(f"{name} {scale}\n".encode())
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    digest.update(json.dumps(vocabulary).encode())
    digest.update(str(getattr(tokenizer, "chat_template", "")).encode())
    return digest.hexdigest()
