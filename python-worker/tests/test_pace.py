"""Chunks of prompts that leave running streams their gap, on a simulated device."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_worker.engine.pace import LEAST_CHUNK, LEAST_RIDING, WHOLE_PROMPT, Pace


def simulate(
    pace: Pace, steps: int, rows: int, token_seconds: float, decode_seconds: float, waiting: int = 1
):
    """Gaps of `rows` streams while prompts keep coming."""
    gaps = []
    for _ in range(steps):
        tokens = pace.chunk(rows, waiting)
        seconds = tokens * token_seconds + decode_seconds
        pace.after_step(rows, tokens, seconds)
        gaps.append(seconds)
    return gaps


@given(st.floats(1e-5, 1e-3), st.floats(1e-3, 0.02), st.integers(1, 16), st.integers(1, 16))
@settings(max_examples=100, deadline=None)
def test_the_gap_holds_at_its_95th_percentile(token_seconds, decode_seconds, rows, waiting):
    pace = Pace(0.05, 2048)
    for _ in range(20):
        pace.after_step(rows, 0, decode_seconds)
    gaps = sorted(simulate(pace, 2000, rows, token_seconds, decode_seconds, waiting))
    assert gaps[int(len(gaps) * 0.95)] <= 0.05


@given(st.floats(1e-5, 1e-3), st.floats(1e-3, 0.02), st.floats(0, 0.01), st.integers(1, 16))
@settings(max_examples=100, deadline=None)
def test_the_gap_holds_where_prompts_go_along_with_the_streams(
    token_seconds, decode_seconds, pass_seconds, rows
):
    pace = Pace(0.05, 2048)
    for _ in range(20):
        pace.after_step(rows, 0, decode_seconds)
    gaps, tokens = [], 0
    for step in range(2000):
        # Each pass is waited for one step after it began; now and then one that ends a prompt is its own.
        riding, tokens = tokens, pace.chunk(rows, 1)
        alone = 20 if step % 40 == 39 else 0
        seconds = decode_seconds + riding * token_seconds + (pass_seconds + 20 * token_seconds) * (alone > 0)
        pace.after_step(rows, alone, seconds, riding)
        gaps.append(seconds)
    assert sorted(gaps)[int(len(gaps) * 0.95)] <= 0.05
    # And it is used: prompts get what the streams leave.
    wanted = min(2048, (0.035 - decode_seconds) / token_seconds)
    assert pace.chunk(rows, 1) >= 0.9 * wanted - 1


def test_nobody_runs_so_nobody_is_kept_waiting():
    assert Pace(0.05, 512).chunk(0, 3) == 512


def test_prefill_always_gets_on_even_when_decode_takes_the_whole_gap():
    pace = Pace(0.05, 512)
    simulate(pace, 50, 16, 1e-3, 0.5, 1)
    assert pace.chunk(16, 1) >= LEAST_CHUNK
    assert pace.chunk(16, 1) <= pace.chunk(16, 8) <= 512


def test_where_the_gap_cannot_be_had_what_goes_along_with_the_streams_may_be_little():
    alone, along = Pace(0.05, 512), Pace(0.05, 512)
    for _ in range(60):
        alone.after_step(2, 0, 0.045)
        along.after_step(2, 0, 0.045)
        along.after_step(2, 0, 0.045 + 16 * 0.01, 16)
    simulate(alone, 60, 2, 0.01, 0.045)
    assert along.chunk(2, 1) == LEAST_RIDING < WHOLE_PROMPT == alone.chunk(2, 1)


def test_a_step_in_which_somebody_came_or_went_says_nothing_of_a_decode_step():
    pace = Pace(0.05, 512)
    for _ in range(20):
        pace.after_step(2, 0, 0.02)
    usual = pace.chunk(2, 1)
    for _ in range(20):
        pace.after_step(3, 0, 0.07)
        pace.after_step(2, 0, 0.07)
    assert pace.chunk(2, 1) == usual


def test_a_single_slow_step_changes_little_and_a_slow_machine_is_noticed():
    pace = Pace(0.1, 512)
    for _ in range(20):
        pace.after_step(2, 0, 0.02)
    usual = pace.chunk(2, 1)
    pace.after_step(2, 0, 1.0)
    assert pace.chunk(2, 1) >= 0.8 * usual
    for _ in range(40):
        pace.after_step(2, 0, 0.05)
    assert pace.chunk(2, 1) <= 0.6 * usual


def test_several_callers_at_once_may_use_some_longer_gaps():
    pace = Pace(0.05, 512)
    alone, together = pace.chunk(1, 1), pace.chunk(1, 4)
    assert alone < together <= 4.2 * alone


def test_idle_slices_are_as_long_as_they_may_be():
    pace = Pace(0.05, 512)
    for _ in range(40):
        pace.after_step(0, 512, 0.512)
    assert 40 <= pace.tokens_in(0.05) <= 60


def test_a_short_rest_is_not_cut_and_a_long_one_is():
    pace = Pace(0.05, 512)
    assert pace.portion(20, WHOLE_PROMPT) == WHOLE_PROMPT
    assert pace.portion(20, WHOLE_PROMPT + 1) == 20
    assert Pace(0.05, 16).portion(16, 40) == 16
