"""Which prompts are kept ready, and which is expected next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlx_worker.engine.speculation import CountSketch, Speculation, SpeculationSettings


def test_only_allowed_prompts_are_worth_keeping_by_default():
    speculation = Speculation(SpeculationSettings())
    assert not any(speculation.observe("m", "", [1, 2]) for _ in range(9))
    speculation.allow("m", [1, 2])
    assert speculation.observe("m", "", [1, 2])
    assert not speculation.observe("other model", "", [1, 2])
    assert not speculation.observe("m", "", [1, 2, 3])


def test_frequent_prompts_are_worth_keeping_where_the_list_does_not_rule():
    speculation = Speculation(SpeculationSettings(allowlist_only=False))
    assert not speculation.observe("m", "", [1, 2])
    assert speculation.observe("m", "", [1, 2])
    assert not speculation.observe("m", "tenant", [1, 2])


def test_nothing_is_worth_keeping_when_it_is_off():
    speculation = Speculation(SpeculationSettings(enabled=False, allowlist_only=False))
    speculation.allow("m", [1])
    assert not any(speculation.observe("m", "", [1]) for _ in range(5))


def test_confidence_grows_with_each_right_guess_and_decays_with_each_wrong_one():
    speculation = Speculation(SpeculationSettings(min_confidence=0.5, decay_factor=0.8))
    expected = []
    for _ in range(5):
        speculation.observe("m", "", [1])
        expected.append(speculation.next_after("m", "", [1]))
        speculation.observe("m", "", [2])
    assert expected == [None, None, None, None, (2,)]
    assert speculation.next_after("m", "tenant", [1]) is None
    for _ in range(3):
        speculation.observe("m", "", [1])
        speculation.observe("m", "", [3])
    assert speculation.next_after("m", "", [1]) is None
    assert speculation.predictions > speculation.predictions_right > 0


@given(st.lists(st.integers(0, 50), max_size=400))
def test_everything_is_bounded(prompts):
    speculation = Speculation(SpeculationSettings(max_candidates=5))
    for prompt in prompts:
        speculation.allow("m", [prompt])
        speculation.observe("m", str(prompt), [prompt])
    assert max(speculation.candidates, speculation.allowlisted, len(speculation._last)) <= 5


@given(st.lists(st.binary(min_size=1, max_size=2), max_size=300))
def test_a_count_is_never_too_low(digests):
    sketch = CountSketch()
    for at, digest in enumerate(digests):
        assert sketch.add(digest) >= digests[: at + 1].count(digest)


def test_models_whose_names_begin_alike_share_nothing():
    guesses = Speculation(SpeculationSettings())
    guesses.allow("mlx-community/Qwen2.5-7B-Instruct-4bit", [1, 2])
    assert guesses.observe("mlx-community/Qwen2.5-7B-Instruct-4bit", "", [1, 2])
    assert not guesses.observe("mlx-community/Qwen2.5-7B-Instruct-8bit", "", [1, 2])
