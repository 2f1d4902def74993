"""Prints what mlx_lm itself answers, greedily, to the chat on standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mlx_worker.blas import ensure_blas

MODEL = Path(__file__).resolve().parents[2] / "python-worker/src/mlx_worker/models/tiny"


def main() -> None:
    ensure_blas()
    from mlx_lm import load, stream_generate

    request = json.load(sys.stdin)
    model, tokenizer = load(str(MODEL))[:2]
    prompt = tokenizer.apply_chat_template(request["messages"], add_generation_prompt=True)
    parts = stream_generate(model, tokenizer, prompt, max_tokens=request["max_tokens"])
    json.dump({"text": "".join(part.text for part in parts)}, sys.stdout)


if __name__ == "__main__":
    main()
