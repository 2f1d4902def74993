"""Trains the packaged model on the project's own text: `python tools/train_tiny_model.py --minutes 2`.

A Llama of about 0.7 million parameters with its own byte-level BPE vocabulary. It memorises, it does not
reason: it exists so that everything runs with no download. The seed fixes text, order and weights; the
number of steps depends on the machine unless --steps is given.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import sys
import time
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

WORKER_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(WORKER_ROOT / "src"))

from mlx_worker.blas import ensure_blas  # noqa: E402

ensure_blas()

import mlx.core as mx  # noqa: E402
import mlx.nn as nn  # noqa: E402
import mlx.optimizers as optim  # noqa: E402
from mlx.utils import tree_flatten, tree_map  # noqa: E402
from mlx_lm.models.llama import Model, ModelArgs  # noqa: E402
from tiny_model_text import CHAT_PAIRS, SPECIAL_TOKENS, Corpus, read_corpus  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402

TARGET = WORKER_ROOT / "src" / "mlx_worker" / "models" / "tiny"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTEXT_LENGTH = 2048
VOCABULARY = 1024
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": CONTEXT_LENGTH,
    "tie_word_embeddings": True,
    "torch_dtype": "float16",
    "eos_token_id": 0,
}


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2.0, help="time to train (default: 2)")
    parser.add_argument("--steps", type=int, help="number of steps, in place of a time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=12, help="sequences in a step (default: 12)")
    parser.add_argument("--length", type=int, default=192, help="tokens in a sequence (default: 192)")
    parser.add_argument("--rate", type=float, default=4e-3, help="highest learning rate (default: 0.004)")
    parser.add_argument(
        "--max-bytes", type=int, default=100_000, help="most bytes of documents (default: 100000)"
    )
    parser.add_argument("--output", type=Path, default=TARGET)
    parser.add_argument("paths", nargs="*", type=Path, help="further text files")
    return parser.parse_args()


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """A byte-level BPE vocabulary of VOCABULARY tokens, the special ones first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@dataclass(frozen=True)
class TokenStream:
    """All texts one after the other, and where each of them begins."""

    tokens: list[int]
    starts: list[int]

    @classmethod
    def of(cls, texts: list[list[int]]) -> TokenStream:
        """Puts encoded texts together."""
        lengths = [len(text) for text in texts]
        starts = [0, *accumulate(lengths[:-1])]
        return cls([token for text in texts for token in text], starts)

    def windows(self, count: int, span: int, rng: random.Random) -> mx.array:
        """Token ids [count, span]; every second window begins where a text begins, as a prompt does."""
        last = len(self.tokens) - span
        starts = [rng.choice(self.starts) if row % 2 else rng.randrange(last) for row in range(count)]
        return mx.array([self.tokens[min(start, last) : min(start, last) + span] for start in starts])


def loss_of(model: Model, batch: mx.array) -> mx.array:
    """Mean cross entropy of the next token."""
    loss: mx.array = nn.losses.cross_entropy(model(batch[:, :-1]), batch[:, 1:], reduction="mean")
    return loss


def train(model: Model, stream: TokenStream, arguments: argparse.Namespace) -> tuple[int, float, float]:
    """Trains in place. Returns steps, the mean loss of the last 20 steps, and seconds."""
    rng = random.Random(arguments.seed)
    optimizer = optim.AdamW(learning_rate=arguments.rate, weight_decay=0.01)
    loss_and_gradient = nn.value_and_grad(model, loss_of)
    started = time.monotonic()
    losses: list[float] = []
    progress = 0.0
    while progress < 1.0:
        warm_up = min(1.0, (len(losses) + 1) / 20)
        decay = 0.05 + 0.95 * (1 + math.cos(math.pi * progress)) / 2
        optimizer.learning_rate = arguments.rate * warm_up * decay
        loss, gradient = loss_and_gradient(model, stream.windows(arguments.batch, arguments.length + 1, rng))
        gradient, _ = optim.clip_grad_norm(gradient, 1.0)
        optimizer.update(model, gradient)
        mx.eval(model.parameters(), optimizer.state, loss)
        losses.append(float(loss))
        seconds = time.monotonic() - started
        progress = len(losses) / arguments.steps if arguments.steps else seconds / (arguments.minutes * 60)
        if len(losses) % 20 == 0:
            speed = len(losses) * arguments.batch * arguments.length / seconds
            loss_now = sum(losses[-20:]) / 20
            print(f"step {len(losses)}  loss {loss_now:.3f}  {speed:.0f} tokens/s  {progress:.0%}")
    recent = losses[-20:]
    return len(losses), sum(recent) / len(recent), time.monotonic() - started


def write_model(model: Model, tokenizer: Tokenizer, card: str, folder: Path) -> None:
    """Writes everything that mlx_lm.load reads, weights as float16, and the card."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weights = tree_map(lambda value: value.astype(mx.float16), model.parameters())
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(weights)), {"format": "mlx"})
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL_TOKENS[0],
        "pad_token": SPECIAL_TOKENS[0],
        "additional_special_tokens": SPECIAL_TOKENS[1:],
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT_LENGTH,
        "chat_template": CHAT_TEMPLATE,
    }
    generation = {"eos_token_id": 0, "do_sample": False, "max_new_tokens": 256}
    files = {"config": CONFIG, "tokenizer_config": tokenizer_config, "generation_config": generation}
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n")
    (folder / "MODEL_CARD.md").write_text(card)


def model_card(
    model: Model, corpus: Corpus, arguments: argparse.Namespace, run: tuple[int, float, float]
) -> str:
    """What the model is, from what, and how it was made."""
    parameters = sum(value.size for _, value in tree_flatten(model.parameters()))
    size = sum(len(document.encode()) for document in corpus.documents)
    steps, loss, seconds = run
    return f"""# tiny

A Llama-architecture language model of {parameters:,} parameters that mlx-serving trains on its own text,
so that every part of the system runs with no download. It has memorised; it knows nothing else, and it is
not meant to be useful beyond tests, demonstrations and measurements.

| | |
|---|---|
| architecture | hidden 128, 3 layers, 4 heads, 2 key-value heads, tied embeddings, float16 |
| vocabulary | {VOCABULARY} tokens, byte-level BPE trained on the same text |
| context | {CONTEXT_LENGTH} tokens (trained on windows of {arguments.length}) |
| text | {len(corpus.documents)} documents of this project, {size:,} bytes |
| chats | {len(corpus.chats)} made from headings and their paragraphs, {len(CHAT_PAIRS)} written by hand |
| training | AdamW, highest rate {arguments.rate}, batch {arguments.batch}, seed {arguments.seed} |
| length | {steps} steps, {seconds:.0f} s on a CPU |
| loss | {loss:.3f} (training text, mean of the last 20 steps) |
| made by | `python tools/train_tiny_model.py` |
| licence | Apache-2.0 |
"""


def main() -> None:
    """Trains and writes the model."""
    arguments = parse_arguments()
    corpus = read_corpus(arguments.paths, arguments.max_bytes)
    rng = random.Random(arguments.seed)
    texts = corpus.all()
    rng.shuffle(texts)
    tokenizer = train_tokenizer(texts)
    stream = TokenStream.of([encoding.ids for encoding in tokenizer.encode_batch(texts)])
    print(f"{len(corpus.documents)} documents, {len(corpus.chats)} chats, {len(stream.tokens)} tokens")
    mx.disable_compile()  # On a CPU it would need a C++ compiler.
    mx.random.seed(arguments.seed)
    model = Model(ModelArgs.from_dict(CONFIG))
    run = train(model, stream, arguments)
    write_model(model, tokenizer, model_card(model, corpus, arguments, run), arguments.output)
    print(f"wrote {arguments.output.name} after {run[0]} steps, loss {run[1]:.3f}")


if __name__ == "__main__":
    main()
