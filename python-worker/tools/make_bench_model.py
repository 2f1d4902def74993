"""Makes a model with seeded random weights, large enough that a first token takes a while. Never committed.

python tools/make_bench_model.py FOLDER [--layers 8] [--width 512] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs

TINY = Path(__file__).resolve().parents[1] / "src" / "mlx_worker" / "models" / "tiny"


def make(folder: Path, layers: int, width: int, seed: int) -> int:
    """Writes the model with the packaged model's tokenizer. Returns its number of parameters."""
    config = json.loads((TINY / "config.json").read_text(encoding="utf-8"))
    config |= {
        "hidden_size": width,
        "intermediate_size": width * 11 // 4,
        "num_hidden_layers": layers,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": 4096,
        "torch_dtype": "float32",
    }
    mx.random.seed(seed)
    network = Model(ModelArgs.from_dict(config))
    weights = dict(tree_flatten(network.parameters()))
    folder.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(TINY / name, folder / name)
    return sum(value.size for value in weights.values())


def main() -> None:
    """Reads the command line and makes the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    count = make(options.folder, options.layers, options.width, options.seed)
    print(f"{count / 1e6:.1f} million parameters in {options.folder}")


if __name__ == "__main__":
    main()
