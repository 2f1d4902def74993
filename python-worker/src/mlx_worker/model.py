"""A loaded model with its tokenizer and what must be known about it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm import utils as mlx_lm_files

from mlx_worker.cpu_network.rewrite import PANEL_BYTES, rewrite_in_slices
from mlx_worker.slices import Slices

PACKAGED_MODELS = Path(__file__).parent / "models"
# Taken when a model's configuration does not say.
DEFAULT_CONTEXT_LENGTH = 4096
# Weights that are evaluated together; one that is larger is evaluated alone.
SLICE_BYTES = 32 * 2**20
READ_BYTES = 2**20


@dataclass(eq=False)
class LoadedModel:
    """`network` and `tokenizer` are mlx-lm's; `loaded_at` is Unix time in seconds.

    `source` is the name with which it was loaded, `adapter` the folder of its LoRA adapter, or empty.
    Only `weight_bytes` changes, when weights in panels are given up.
    """

    id: str
    network: Any
    tokenizer: Any
    context_length: int
    parameters: int
    end_tokens: frozenset[int]
    loaded_at: int
    vocabulary: int = 0
    weight_bytes: int = 0
    source: str = ""
    adapter: str = ""


@dataclass(frozen=True)
class ModelFiles:
    """What of a model needs no MLX: the folder with its weights, its tokenizer, its adapter's folder."""

    name: str
    folder: Path
    tokenizer: Any
    adapter: str = ""


def model_id(name: str) -> str:
    """The name by which clients ask for the model: a folder's own name, else the name as it is."""
    return Path(name).name if Path(name).is_dir() else name


def packaged_folder(name: str) -> Path | None:
    """The folder of a packaged model; None when no packaged one has this name."""
    folder = PACKAGED_MODELS / name
    return folder if Path(name).name == name and (folder / "config.json").exists() else None


def read_files(name: str, adapter: str = "") -> ModelFiles:
    """Finds a packaged model, a folder, or a Hugging Face name, which it may download. For any thread.

    Makes the tokenizer, and reads the weights once, so that the engine's thread need not wait for the disk.
    Raises whatever mlx-lm raises when there is no such model.
    """
    folder = packaged_folder(name) or mlx_lm_files._download(name)
    end_tokens = mlx_lm_files.load_config(folder).get("eos_token_id")
    tokenizer = mlx_lm_files.load_tokenizer(folder, eos_token_ids=end_tokens)
    for file in [*weight_files(folder), *weight_files(Path(adapter) if adapter else None)]:
        with file.open("rb") as content:
            while content.read(READ_BYTES):
                pass
    return ModelFiles(name, folder, tokenizer, adapter)


def load_in_slices(
    files: ModelFiles, panel_room: Callable[[int], int] = lambda weights: PANEL_BYTES
) -> Slices[LoadedModel]:
    """Makes the network and its weights. Must run in the engine's thread: MLX's arrays belong to one.

    `panel_room` says how much more memory there is, beside so many bytes of weights, to keep some in panels.

    On a CPU the weights are computed in float32: float16 is slower there, and its rounding differs between
    a batch and a single sequence, so that greedy answers would depend on their neighbours. On Linux, layers
    at which MLX is slow are replaced by equal ones. MLX's compiler is off on a CPU: it runs the machine's
    C++ compiler, which need not exist, and the process ignores SIGINT meanwhile. Raises whatever
    mlx-lm raises for weights or an adapter that do not fit.
    """
    on_cpu = mx.default_device() == mx.Device(mx.cpu)
    if on_cpu:
        mx.disable_compile()
    network, _ = mlx_lm_files.load_model(files.folder, lazy=True)
    if files.adapter:
        network = mlx_lm_files.load_adapters(network, files.adapter)
        network.eval()
    yield
    parameters = sum(value.size for _, value in tree_flatten(network.parameters()))
    if on_cpu:
        network.set_dtype(mx.float32)
    yield from evaluate(network)
    if on_cpu and sys.platform == "linux":
        yield from rewrite_in_slices(network, panel_room(bytes_of(network)))
    return LoadedModel(
        id=model_id(files.name),
        network=network,
        tokenizer=files.tokenizer,
        context_length=context_length(network),
        parameters=parameters,
        end_tokens=frozenset(files.tokenizer.eos_token_ids),
        loaded_at=int(time.time()),
        vocabulary=int(network(mx.array([[0]])).shape[-1]),
        weight_bytes=bytes_of(network),
        source=files.name,
        adapter=files.adapter,
    )


def bytes_of(network: Any) -> int:
    """Memory of all weights."""
    return sum(value.nbytes for _, value in tree_flatten(network.parameters()))


def evaluate(network: Any) -> Slices[None]:
    """Evaluates the weights, a few at a time."""
    some, size = [], 0
    for _, weight in tree_flatten(network.parameters()):
        some.append(weight)
        size += weight.nbytes
        if size >= SLICE_BYTES:
            mx.eval(some)
            some, size = [], 0
            yield
    mx.eval(some)


def weight_files(folder: Path | None) -> list[Path]:
    """The files with weights in a folder."""
    return [] if folder is None else sorted(folder.glob("*.safetensors"))


def weight_bytes_on_disk(files: ModelFiles) -> int:
    """What a model's files say of its size before it is loaded."""
    return sum(file.stat().st_size for file in weight_files(files.folder))


def context_length(network: Any) -> int:
    """Most tokens of prompt and answer together."""
    length = getattr(network.args, "max_position_embeddings", None)
    if length is None:
        text_config = getattr(network.args, "text_config", None) or {}
        length = json.loads(json.dumps(text_config)).get("max_position_embeddings")
    return int(length or DEFAULT_CONTEXT_LENGTH)
