"""A loaded model with its tokenizer and what must be known about it."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm
from mlx.utils import tree_flatten

from mlx_worker.cpu_network.rewrite import rewrite

PACKAGED_MODELS = Path(__file__).parent / "models"
# Taken when a model's configuration does not say.
DEFAULT_CONTEXT_LENGTH = 4096


@dataclass(frozen=True)
class LoadedModel:
    """`network` and `tokenizer` are mlx-lm's; `loaded_at` is Unix time in seconds."""

    id: str
    network: Any
    tokenizer: Any
    context_length: int
    parameters: int
    end_tokens: frozenset[int]
    loaded_at: int
    vocabulary: int = 0
    weight_bytes: int = 0


def model_id(name: str) -> str:
    """The name by which clients ask for the model: a folder's own name, else the name as it is."""
    return Path(name).name if Path(name).is_dir() else name


def packaged_folder(name: str) -> Path | None:
    """The folder of a packaged model; None when no packaged one has this name."""
    folder = PACKAGED_MODELS / name
    return folder if Path(name).name == name and (folder / "config.json").exists() else None


def load_model(name: str) -> LoadedModel:
    """Loads a packaged model, a folder, or a Hugging Face name. Must run in the engine's thread.

    On a CPU the weights are computed in float32: float16 is slower there, and its rounding differs between
    a batch and a single sequence, so that greedy answers would depend on their neighbours. On Linux, layers
    at which MLX is slow are replaced by equal ones. MLX's compiler is off on a CPU: it runs the machine's
    C++ compiler, which need not exist, and the process ignores SIGINT meanwhile. Raises whatever
    mlx_lm.load raises when there is no such model.
    """
    on_cpu = mx.default_device() == mx.Device(mx.cpu)
    if on_cpu:
        mx.disable_compile()
    packaged = packaged_folder(name)
    network, tokenizer, *_ = mlx_lm.load(name if packaged is None else str(packaged))
    parameters = sum(value.size for _, value in tree_flatten(network.parameters()))
    if on_cpu:
        network.set_dtype(mx.float32)
        mx.eval(network.parameters())
        if sys.platform == "linux":
            rewrite(network)
    return LoadedModel(
        id=model_id(name),
        network=network,
        tokenizer=tokenizer,
        context_length=context_length(network),
        parameters=parameters,
        end_tokens=frozenset(tokenizer.eos_token_ids),
        loaded_at=int(time.time()),
        vocabulary=int(network(mx.array([[0]])).shape[-1]),
        weight_bytes=sum(value.nbytes for _, value in tree_flatten(network.parameters())),
    )


def weight_bytes_on_disk(name: str) -> int:
    """What a model's files say of its size before it is loaded; 0 when they are not here."""
    folder = packaged_folder(name) or Path(name)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0


def context_length(network: Any) -> int:
    """Most tokens of prompt and answer together."""
    length = getattr(network.args, "max_position_embeddings", None)
    if length is None:
        text_config = getattr(network.args, "text_config", None) or {}
        length = json.loads(json.dumps(text_config)).get("max_position_embeddings")
    return int(length or DEFAULT_CONTEXT_LENGTH)
