"""An answer whose first part came from another worker goes on as it would have gone on there."""

from __future__ import annotations

import json

import grpc
import mlx.core as mx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_options import PROMPT, SCHEMA

from mlx_worker.sampling import RowSampler, SamplingOptions

WAYS = {
    "greedy": {"max_tokens": 24},
    "seeded": {"max_tokens": 24, "temperature": 0.9, "top_p": 0.95, "seed": 7},
    "penalties": {"max_tokens": 24, "repetition_penalty": 1.3, "presence_penalty": 0.5, "seed": 3},
    "stop": {"max_tokens": 24, "stop": ["is a small", "zebra"]},
    "schema": {"max_tokens": 40, "json_schema": json.dumps(SCHEMA), "temperature": 1, "seed": 5},
}


@pytest.mark.parametrize("way", WAYS)
async def test_every_cut_of_an_answer_goes_on_to_the_same_end(worker, way):
    whole = await worker.generate(PROMPT, **WAYS[way])
    for cut in range(len(whole.ids) + 1):
        rest = await worker.generate(PROMPT, request={"resume_token_ids": whole.ids[:cut]}, **WAYS[way])
        sent = "".join(token.text for token in whole.tokens[:cut])
        assert (whole.ids[:cut] + rest.ids, sent + rest.text) == (whole.ids, whole.text), cut
        assert rest.finished.finish_reason == whole.finished.finish_reason
        assert rest.finished.usage.completion_tokens == whole.finished.usage.completion_tokens
        assert rest.finished.usage.prompt_tokens == whole.finished.usage.prompt_tokens


async def test_an_answer_goes_on_inside_a_batch_of_others(worker):
    whole = await worker.generate(PROMPT, **WAYS["seeded"])
    others = [worker.call(PROMPT, max_tokens=60, temperature=1, seed=seed) for seed in range(3)]
    rest = await worker.generate(PROMPT, request={"resume_token_ids": whole.ids[:9]}, **WAYS["seeded"])
    assert whole.ids[:9] + rest.ids == whole.ids
    for other in others:
        other.cancel()


@pytest.mark.parametrize("resume", [[10**9], [1] * 25])
async def test_what_the_model_cannot_have_given_is_refused(worker, resume):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await worker.generate(PROMPT, request={"resume_token_ids": resume}, max_tokens=24)
    assert dict(refused.value.trailing_metadata())["reason"] == "RESUME_INVALID"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(-(2**63), 2**63 - 1), drawn=st.integers(0, 600))
def test_the_key_of_a_draw_depends_on_its_seed_and_position_alone(seed, drawn):
    stepped = RowSampler(SamplingOptions(temperature=1, seed=seed))
    for _ in range(drawn):
        stepped._key, _ = mx.random.split(stepped._key)
    jumped = RowSampler(SamplingOptions(temperature=1, seed=seed, drawn=drawn))
    assert jumped._key.tolist() == stepped._key.tolist()
