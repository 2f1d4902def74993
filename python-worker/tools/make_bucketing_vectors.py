"""Writes libs/testing/vectors/bucketing.json, which the TypeScript and the Python tests both read.

Uses hashlib alone and nothing of this project, so that it can serve as the reference.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path

CASE_COUNT = 2_000
DIGEST_COUNT = 100_000
TARGET = Path(__file__).resolve().parents[2] / "libs" / "testing" / "vectors" / "bucketing.json"
GENERATOR = (
    "for i in 0..count-1: key = 'user-' + i + ('é' if i % 3 == 0) + '漢' * (i % 7) + 'x' * (i % 90), "
    "seed = 'seed-' + (i % 10); sha256 over fine(i) as 4 bytes big endian, concatenated"
)
RULE = (
    "hash = first 32 bits, big endian, of md5(utf8(key + ':' + seed)); "
    "fine = (hash % 100) * 1000 + floor(hash / 100) % 1000"
)
ALPHABETS = ["abcdefghijklmnopqrstuvwxyz0123456789-_@.", "äöüßéñçøåæ", "漢字テスト한글", "😀🚀🧪𝔘𐍈"]
# Around the ends of md5's blocks of 64 bytes, where an implementation of its padding goes wrong.
EDGE_LENGTHS = [1, 2, 54, 55, 56, 57, 62, 63, 64, 65, 118, 119, 120, 121, 127, 128, 129, 183, 184, 1000]


def hash_and_fine(key: str, seed: str) -> tuple[int, int]:
    """The 32-bit hash and the fine bucket of a key."""
    value = int(hashlib.md5(f"{key}:{seed}".encode()).hexdigest()[:8], 16)
    return value, (value % 100) * 1000 + (value // 100) % 1000


def keys_and_seeds() -> list[tuple[str, str]]:
    """2,000 pairs: empty, edge lengths, and seeded random text of every UTF-8 width."""
    pairs = [("", ""), ("", "seed"), ("key", ""), (":", ":"), ("a:b", "c"), ("a", "b:c"), ("\x00", "\x00")]
    for length in EDGE_LENGTHS:
        seed = "s"
        pairs.append(("k" * max(0, length - 1 - len(seed)), seed))
        pairs.append(("é" * (length // 2), "wide"))
    rng = random.Random(20260101)
    while len(pairs) < CASE_COUNT:
        alphabet = rng.choice([*ALPHABETS, "".join(ALPHABETS)])
        key = "".join(rng.choice(alphabet) for _ in range(rng.randint(0, 90)))
        pairs.append((key, f"seed-{rng.randint(0, 99)}"))
    return pairs


def digest() -> str:
    """Hexadecimal sha256 over the fine buckets of the generated keys."""
    total = hashlib.sha256()
    for i in range(DIGEST_COUNT):
        key = f"user-{i}" + ("é" if i % 3 == 0 else "") + "漢" * (i % 7) + "x" * (i % 90)
        total.update(hash_and_fine(key, f"seed-{i % 10}")[1].to_bytes(4, "big"))
    return total.hexdigest()


def document() -> str:
    """The file's text: one case per line."""
    cases = []
    for key, seed in keys_and_seeds():
        value, fine = hash_and_fine(key, seed)
        cases.append(json.dumps({"key": key, "seed": seed, "hash": value, "fine": fine}, ensure_ascii=True))
    head = json.dumps({"rule": RULE, "generator": GENERATOR}, ensure_ascii=False)[1:-1]
    tail = json.dumps({"count": DIGEST_COUNT, "sha256": digest()})
    lines = ",\n".join(f"    {case}" for case in cases)
    return f'{{\n  {head},\n  "digest": {tail},\n  "cases": [\n{lines}\n  ]\n}}\n'


def main() -> int:
    """Writes the file; with --check only compares it. Returns the exit code."""
    text = document()
    if "--check" in sys.argv[1:]:
        same = TARGET.exists() and TARGET.read_text() == text
        if not same:
            print(f"{TARGET} is out of date: run python tools/make_bucketing_vectors.py", file=sys.stderr)
        return 0 if same else 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(text)
    print(f"wrote {TARGET}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
