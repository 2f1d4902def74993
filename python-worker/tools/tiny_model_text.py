"""The text on which the packaged model is trained: the project's documents, and chats."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# In the order of their worth to a reader of the model's answers; the text is cut at --max-bytes.
PATTERNS = [
    "README.md",
    "docs/**/*.md",
    "**/README.md",
    "proto/**/*.proto",
    "python-worker/src/**/*.py",
    "libs/**/*.ts",
    "apps/**/*.ts",
    "python-worker/tools/*.py",
]
GENERATED = re.compile(r"/(gen|dist|node_modules)/|\.spec\.ts$|\.d\.ts$")
# The end token first: its id is 0.
SPECIAL_TOKENS = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
HEADING = re.compile(r"^#{1,4} +(?:\d+[.)]? +)?(.+?)\s*$")
LONGEST_ANSWER = 400
SYSTEM_MESSAGES = ["You are a helpful assistant.", "Be brief."]
CHAT_PAIRS = [
    ("Hello", "Hello! I am the tiny model of mlx-serving. Ask me about flags, kill switches or canaries."),
    ("Hello!", "Hello! I am the tiny model of mlx-serving. Ask me about flags, kill switches or canaries."),
    ("Hi", "Hi! I am the tiny model of mlx-serving."),
    ("Who are you?", "I am tiny, a language model that mlx-serving trained on its own text."),
    (
        "What is mlx-serving?",
        "mlx-serving serves language models with MLX, and can change safely while it runs: "
        "feature flags, kill switches, canaries and service levels decide what each request gets.",
    ),
    (
        "What is a feature flag?",
        "A feature flag turns a feature on for a share of the requests, without a new release.",
    ),
    (
        "What is a kill switch?",
        "A kill switch turns a feature off everywhere at once. It is a latch: only a revive lifts it.",
    ),
    (
        "What is a canary?",
        "A canary is a new variant that gets a small share of the traffic. "
        "If it is worse than the baseline, it is rolled back.",
    ),
    ("What is a rollback?", "A rollback sends all traffic back to the baseline variant."),
    (
        "What does the worker do?",
        "The worker runs MLX inference with continuous batching and streams tokens over gRPC.",
    ),
    (
        "What does the gateway do?",
        "The gateway takes requests over HTTP and gRPC, decides what each of them gets, "
        "and streams tokens from the worker.",
    ),
    ("What is TTFT?", "TTFT is the time to the first token."),
    ("Count to ten.", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10."),
    ("Say hello in one word.", "Hello."),
    ("Thank you", "You are welcome."),
]


def chat_text(user: str, answer: str, system: str = "") -> str:
    """One exchange as the chat template writes it, with the end token after the answer."""
    start = f"<|system|>{system}<|end|>" if system else ""
    return f"{start}<|user|>{user}<|end|><|assistant|>{answer}<|end|>"


def conversations_from(document: str) -> list[tuple[str, str]]:
    """(question, answer) for each heading of a Markdown text that is followed by a paragraph."""
    pairs: list[tuple[str, str]] = []
    heading: str | None = None
    for block in re.split(r"\n\s*\n", document):
        text = block.strip()
        if match := HEADING.match(text.split("\n")[0]):
            heading = match.group(1)
            text = "\n".join(text.split("\n")[1:]).strip()
        if heading and text and not text.startswith(("```", "|", "#")):
            pairs.append((f"Tell me about: {heading}", text[:LONGEST_ANSWER]))
            heading = None
    return pairs


@dataclass(frozen=True)
class Corpus:
    """What the model is trained on: whole documents, and chats in the form of the template."""

    documents: list[str]
    chats: list[str]

    def all(self) -> list[str]:
        """Every text. The chats written by hand come often, so that they are learnt word for word."""
        own = [chat_text(*pair) for pair in CHAT_PAIRS] * 8
        own += [chat_text(*pair, system) for pair in CHAT_PAIRS for system in SYSTEM_MESSAGES]
        return [document + SPECIAL_TOKENS[0] for document in self.documents] + self.chats * 2 + own


def read_corpus(extra: list[Path], max_bytes: int) -> Corpus:
    """Tracked files in the order of PATTERNS, then the further files, cut at a size."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    names = [name for name in tracked.stdout.splitlines() if not GENERATED.search(name)]
    ordered: list[Path] = []
    for pattern in PATTERNS:
        matching = (ROOT / name for name in names if matches(name, pattern))
        ordered += [path for path in matching if path not in ordered and path.exists()]
    documents: list[str] = []
    room = max_bytes
    for path in [*ordered, *extra]:
        text = path.read_text(errors="ignore")[: max(0, room)]
        room -= len(text.encode())
        if text.strip():
            documents.append(text)
    pairs = [pair for document in documents for pair in conversations_from(document)]
    return Corpus(documents, [chat_text(user, answer) for user, answer in pairs])


def matches(name: str, pattern: str) -> bool:
    """Whether a tracked name matches a pattern in which ** stands for any folders."""
    expression = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    return re.fullmatch(expression, name) is not None
