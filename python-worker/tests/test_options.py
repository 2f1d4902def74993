"""Each sampling option against mlx-lm used alone."""

from __future__ import annotations

import asyncio
import json
import types

import grpc
import mlx.core as mx
import mlx_lm
import numpy as np
import pytest
from conftest import collect
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p, make_logits_processors
from mlx_lm.tool_parsers import json_tools

from mlx_worker.engine.answer_text import AnswerText
from mlx_worker.engine.tool_text import ToolText
from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.sampling import RowSampler, SamplingOptions

PROMPT = "A canary is a small part of the traffic. A canary is"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["flag", "canary"]}, "on": {"type": "boolean"}},
    "required": ["name", "on"],
    "additionalProperties": False,
}


def alone(reference, count: int, **options) -> list[int]:
    steps = mlx_lm.stream_generate(
        reference.network,
        reference.tokenizer,
        PROMPT,
        max_tokens=count,
        logits_processors=make_logits_processors(**options),
    )
    return [step.token for step in steps]


@pytest.mark.parametrize(
    "options",
    [
        {"repetition_penalty": 1.7},
        {"presence_penalty": 1.5},
        {"frequency_penalty": 0.9},
        {"logit_bias": {300: 50.0, 301: -5.0}},
        {
            "repetition_penalty": 1.2,
            "presence_penalty": 0.5,
            "frequency_penalty": 0.5,
            "logit_bias": {9: 2.0},
        },
    ],
    ids=lambda options: "+".join(options),
)
async def test_penalties_and_biases_give_what_mlx_lm_gives(worker, reference, options):
    wanted = alone(reference, 24, **options)
    assert wanted != reference.generate(PROMPT, 24)[0]
    answers = await asyncio.gather(
        worker.generate(PROMPT, max_tokens=24, **options),
        worker.generate(PROMPT, max_tokens=24),
        worker.generate(PROMPT, max_tokens=24, **options),
    )
    assert answers[0].ids == answers[2].ids == wanted
    assert answers[1].ids == reference.generate(PROMPT, 24)[0]


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"top_k": 7}, lambda values: apply_top_k(values, 7)),
        ({"min_p": 0.2}, lambda values: apply_min_p(values, 0.2)),
        ({"top_p": 0.7}, lambda values: apply_top_p(values, 0.7)),
    ],
    ids=["top_k", "min_p", "top_p"],
)
def test_a_draw_comes_from_the_tokens_that_mlx_lm_leaves(options, same):
    logits = mx.random.normal((1, 40), key=mx.random.key(4)) * 2
    logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    possible = {int(at) for at in np.flatnonzero(np.isfinite(np.array(same(logprobs))[0]))}
    sampler = RowSampler(SamplingOptions(temperature=1.0, seed=1, **options))
    drawn = {int(sampler(logprobs).item()) for _ in range(1500)}
    assert drawn == possible


async def test_log_probabilities_are_those_of_mlx_lm(worker, reference):
    answer = await worker.generate(PROMPT, max_tokens=8, top_logprobs=3)
    steps = list(mlx_lm.stream_generate(reference.network, reference.tokenizer, PROMPT, max_tokens=8))
    for token, step in zip(answer.tokens, steps, strict=True):
        values = np.array(step.logprobs)
        assert token.logprob == pytest.approx(values[token.id], abs=1e-3)
        assert [top.id for top in token.top_logprobs] == list(np.argsort(-values)[:3])
        assert token.top_logprobs[0].logprob >= token.top_logprobs[2].logprob
        assert token.top_logprobs[0].text == reference.tokenizer.decode([token.id])


async def test_no_log_probabilities_unless_they_are_asked_for(worker):
    answer = await worker.generate(PROMPT, max_tokens=3)
    assert not any(token.HasField("logprob") or token.top_logprobs for token in answer.tokens)


@pytest.mark.parametrize("options", [{}, {"temperature": 1.5, "seed": 4}, {"top_logprobs": 1}])
async def test_an_answer_bound_to_a_schema_is_json_of_that_schema(worker, options):
    answers = await asyncio.gather(
        *(
            worker.generate("The flag: ", max_tokens=120, json_schema=json.dumps(SCHEMA), **options)
            for _ in range(3)
        )
    )
    for answer in answers:
        value = json.loads(answer.text)
        assert value["name"] in ("flag", "canary")
        assert isinstance(value["on"], bool)
        assert answer.finished.finish_reason == pb.FINISH_REASON_STOP


async def test_a_schema_binds_its_own_request_only(worker, reference):
    bound, free = await asyncio.gather(
        worker.generate("x", max_tokens=100, json_schema=json.dumps(SCHEMA)),
        worker.generate(PROMPT, max_tokens=24),
    )
    assert json.loads(bound.text)
    assert free.ids == reference.generate(PROMPT, 24)[0]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"min_p": 1.5}, "MIN_P_INVALID"),
        ({"repetition_penalty": 0.0}, "REPETITION_PENALTY_INVALID"),
        ({"presence_penalty": 3.0}, "PENALTY_INVALID"),
        ({"frequency_penalty": float("nan")}, "PENALTY_INVALID"),
        ({"logit_bias": {1: 200.0}}, "LOGIT_BIAS_INVALID"),
        ({"logit_bias": {1_000_000: 1.0}}, "LOGIT_BIAS_INVALID"),
        ({"top_logprobs": 21}, "TOP_LOGPROBS_INVALID"),
        ({"json_schema": "{"}, "SCHEMA_INVALID"),
        ({"json_schema": '{"type": "nothing"}'}, "SCHEMA_INVALID"),
    ],
)
async def test_an_option_that_cannot_be_used_is_refused(worker, options, reason):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await collect(worker.call(PROMPT, max_tokens=4, **options))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(caught.value.trailing_metadata())["reason"] == reason


class Letters:
    """A detokenizer whose tokens are letters."""

    def __init__(self) -> None:
        self.last_segment = ""

    def add_token(self, token: int) -> None:
        self.last_segment = chr(token)

    def finalize(self) -> None:
        self.last_segment = ""


TOOLS = types.SimpleNamespace(
    tool_call_start=json_tools.tool_call_start,
    tool_call_end=json_tools.tool_call_end,
    tool_parser=json_tools.parse_tool_call,
)
CALL = '{"name": "weather", "arguments": {"city": "Zürich"}}'


@pytest.mark.parametrize(
    ("answer", "text", "names"),
    [
        ("Hello", "Hello", []),
        (f"See: <tool_call>{CALL}</tool_call> done", "See:  done", ["weather"]),
        (f"<tool_call>{CALL}</tool_call><tool_call>{CALL}</tool_call>", "", ["weather", "weather"]),
        (f"<tool_call>{CALL}", "", ["weather"]),
        ("a <tool_call>no json</tool_call>", "a <tool_call>no json</tool_call>", []),
        ("1 < 2 <tool", "1 < 2 <tool", []),
    ],
)
def test_tool_calls_are_taken_out_of_the_text(answer, text, names):
    parts = ToolText(TOOLS, [])
    read = AnswerText(Letters(), (), parts)
    shown = "".join(read.add(ord(letter)) for letter in answer) + read.finish()
    assert shown == text
    assert [call.name for call in read.tool_calls] == names
    if names:
        assert json.loads(read.tool_calls[0].arguments_json) == {"city": "Zürich"}
