"""Options and draws."""

from __future__ import annotations

import mlx.core as mx
import pytest

from mlx_worker.errors import ServiceError
from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.sampling import GREEDY, RowSampler, SamplingOptions, sampler_for, sampling_options

LOGPROBS = mx.log(mx.array([[0.5, 0.3, 0.15, 0.05]]))


def draws(count: int, **options) -> list[int]:
    sampler = RowSampler(SamplingOptions(**options))
    return [int(sampler(LOGPROBS).item()) for _ in range(count)]


def test_absent_options_take_the_defaults():
    assert sampling_options(pb.SamplingOptions()) == SamplingOptions(256, 0.0, 1.0, None, ())


def test_all_greedy_requests_share_one_sampler():
    assert sampler_for(SamplingOptions(temperature=0)) is GREEDY


def test_the_same_seed_draws_the_same_and_each_draw_is_new():
    first = draws(40, temperature=1.0, seed=5)
    assert first == draws(40, temperature=1.0, seed=5)
    assert first != draws(40, temperature=1.0, seed=6)
    assert len(set(first)) > 1


def test_top_p_keeps_the_smallest_set_that_reaches_the_mass():
    assert set(draws(200, temperature=1.0, top_p=0.5, seed=1)) == {0}
    assert set(draws(200, temperature=1.0, top_p=0.79, seed=1)) == {0, 1}
    assert set(draws(200, temperature=1.0, top_p=1e-6, seed=1)) == {0}


def test_draws_follow_the_probabilities():
    counts = [draws(2000, temperature=1.0, seed=3).count(token) / 2000 for token in range(4)]
    assert counts == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.04)


def test_a_low_temperature_is_all_but_greedy():
    assert set(draws(50, temperature=0.001, seed=1)) == {0}


def test_a_fault_is_kept_and_the_row_goes_on():
    sampler = RowSampler(SamplingOptions(temperature=1.0))
    sampler._temperature = None
    assert int(sampler(LOGPROBS).item()) == 0
    assert isinstance(sampler.fault, TypeError)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_tokens": 0}, "MAX_TOKENS_INVALID"),
        ({"temperature": -0.1}, "TEMPERATURE_INVALID"),
        ({"temperature": 2.1}, "TEMPERATURE_INVALID"),
        ({"temperature": float("nan")}, "TEMPERATURE_INVALID"),
        ({"temperature": float("inf")}, "TEMPERATURE_INVALID"),
        ({"top_p": 0.0}, "TOP_P_INVALID"),
        ({"top_p": 1.1}, "TOP_P_INVALID"),
        ({"top_p": float("nan")}, "TOP_P_INVALID"),
        ({"stop": ["a"] * 5}, "STOP_INVALID"),
        ({"stop": [""]}, "STOP_INVALID"),
        ({"stop": ["x" * 257]}, "STOP_INVALID"),
    ],
)
def test_an_option_out_of_range_is_refused(options, reason):
    with pytest.raises(ServiceError) as caught:
        sampling_options(pb.SamplingOptions(**options))
    assert caught.value.reason == reason
