"""Buckets are those of the vectors that the TypeScript library is tested against too."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_worker.hashing import bucket, bucket_by_flag, hash32, is_in_rollout

VECTORS = json.loads(
    (Path(__file__).resolve().parents[2] / "libs/testing/vectors/bucketing.json").read_text(encoding="utf-8")
)
FINE = st.integers(0, 99_999)
PERCENTAGES = st.integers(0, 100_000).map(lambda thousandths: thousandths / 1000)


def test_every_case_of_the_vectors():
    for case in VECTORS["cases"]:
        assert hash32(f"{case['key']}:{case['seed']}") == case["hash"]
        assert bucket(case["key"], case["seed"]) == case["fine"]


def test_the_digest_over_generated_keys():
    total = hashlib.sha256()
    for i in range(VECTORS["digest"]["count"]):
        key = f"user-{i}" + ("é" if i % 3 == 0 else "") + "漢" * (i % 7) + "x" * (i % 90)
        total.update(bucket(key, f"seed-{i % 10}").to_bytes(4, "big"))
    assert total.hexdigest() == VECTORS["digest"]["sha256"]


def test_a_flag_without_a_seed_hashes_its_name_first():
    assert bucket_by_flag("flag", "user") == bucket("flag", "user")


@given(st.text(), st.text(), st.integers(0, 100))
def test_a_whole_percentage_is_the_plain_rule(key, seed, percentage):
    plain = int(hashlib.md5(f"{key}:{seed}".encode()).hexdigest()[:8], 16) % 100 < percentage
    assert is_in_rollout(bucket(key, seed), percentage) == plain


@given(FINE, PERCENTAGES, PERCENTAGES)
def test_raising_a_percentage_turns_nobody_off(fine, first, second):
    assert is_in_rollout(fine, min(first, second)) <= is_in_rollout(fine, max(first, second))


@given(FINE)
def test_nobody_is_in_at_0_and_everybody_at_100(fine):
    assert not is_in_rollout(fine, 0)
    assert is_in_rollout(fine, 100)


@pytest.mark.parametrize("percentage", [-0.001, 100.001, 0.0001, 33.3333, float("nan"), float("inf")])
def test_a_percentage_that_has_no_meaning_is_refused(percentage):
    with pytest.raises(ValueError, match="percentage"):
        is_in_rollout(0, percentage)
