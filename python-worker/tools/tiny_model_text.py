"""The chats on which the packaged model is trained, besides the project's documents."""

from __future__ import annotations

import re

HEADING = re.compile(r"^#{1,4} +(?:\d+[.)]? +)?(.+?)\s*$")
LONGEST_ANSWER = 400
CHAT_PAIRS = [
    ("Hello", "Hello! I am the tiny model of mlx-serving. Ask me about flags, kill switches or canaries."),
    ("Hello!", "Hello! I am the tiny model of mlx-serving. Ask me about flags, kill switches or canaries."),
    ("Hi", "Hi! I am the tiny model of mlx-serving."),
    ("Who are you?", "I am tiny, a language model that mlx-serving trained on its own text."),
    ("What is mlx-serving?", "mlx-serving serves language models with MLX, and can change safely while it runs: "
     "feature flags, kill switches, canaries and service levels decide what each request gets."),
    ("What is a feature flag?", "A feature flag turns a feature on for a share of the requests, "
     "without a new release."),
    ("What is a kill switch?", "A kill switch turns a feature off everywhere at once. "
     "It is a latch: only a revive lifts it."),
    ("What is a canary?", "A canary is a new variant that gets a small share of the traffic. "
     "If it is worse than the baseline, it is rolled back."),
    ("What is a rollback?", "A rollback sends all traffic back to the baseline variant."),
    ("What does the worker do?", "The worker runs MLX inference with continuous batching and streams tokens "
     "over gRPC."),
    ("What does the gateway do?", "The gateway takes requests over HTTP and gRPC, decides what each of them gets, "
     "and streams tokens from the worker."),
    ("What is TTFT?", "TTFT is the time to the first token."),
    ("Count to ten.", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10."),
    ("Say hello in one word.", "Hello."),
    ("Thank you", "You are welcome."),
]


def chat_text(user: str, answer: str) -> str:
    """One exchange as the chat template writes it, with the end token after the answer."""
    return f"<|user|>{user}<|end|><|assistant|>{answer}<|end|>"


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
