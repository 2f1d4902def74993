"""Each sampling option against mlx-lm used alone."""

from __future__ import annotations

import asyncio
import gc
import json
import math
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
from mlx_worker.engine.constraint import Constraints
from mlx_worker.engine.draw import Draw
from mlx_worker.engine.tool_text import ToolText
from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.model import read_files
from mlx_worker.sampling import GREEDY, RowSampler, SamplingOptions

PROMPT = "A canary is a small part of the traffic. A canary is"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["flag", "canary"]}, "on": {"type": "boolean"}},
    "required": ["name", "on"],
    "additionalProperties": False,
}


def alone(reference, prompt: str, count: int, **options) -> list[int]:
    """What mlx-lm gives alone. Its presence and frequency penalties see the whole answer, and no prompt."""
    begin = len(reference.tokenizer.encode(prompt))

    def of_the_answer(processor):
        return lambda tokens, logits: processor(tokens[begin:], logits)

    answer = {
        name: options.pop(name) for name in ("presence_penalty", "frequency_penalty") if name in options
    }
    whole = {name.replace("penalty", "context_size"): 10_000 for name in answer}
    processors = make_logits_processors(**options)
    processors += [of_the_answer(each) for each in make_logits_processors(**answer, **whole)]
    steps = mlx_lm.stream_generate(
        reference.network,
        reference.tokenizer,
        prompt,
        max_tokens=count,
        logits_processors=processors,
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
    wanted = alone(reference, PROMPT, 60, **options)
    assert wanted != reference.generate(PROMPT, 60)[0]
    answers = await asyncio.gather(
        worker.generate(PROMPT, max_tokens=60, **options),
        worker.generate(PROMPT, max_tokens=24),
        worker.generate(PROMPT, max_tokens=60, **options),
    )
    assert answers[0].ids == answers[2].ids == wanted
    assert answers[1].ids == reference.generate(PROMPT, 24)[0]


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
def test_the_penalties_of_openais_api_count_the_whole_answer_and_no_prompt(name):
    draw = Draw(SamplingOptions(**{name: 2.0}), GREEDY, None, prompt_tokens=3)
    # Token 1 leads by 1.5 over token 2, which leads by 0.2 over token 3.
    logits = mx.array([[0.0, 5.0, 3.5, 3.3]])
    prompt, filler = [1, 1, 1], [0] * 30
    assert draw.next(logits, prompt).item() == 1
    assert draw.next(logits, [*prompt, 1]).item() == 2
    # So long ago that mlx-lm's own 20 tokens would have forgotten it.
    assert draw.next(logits, [*prompt, 1, *filler]).item() == 2
    assert draw.next(logits, [*prompt, 1, *filler, 2]).item() == 3
    again = draw.next(logits, [*prompt, 1, 1, *filler, 2]).item()
    assert again == 3
    assert mx.array_equal(logits, mx.array([[0.0, 5.0, 3.5, 3.3]]))


def test_a_frequency_penalty_grows_with_each_time_and_a_presence_penalty_does_not():
    logits = mx.array([[0.0, 5.0, 3.5]])
    drawn = {}
    for name in ("presence_penalty", "frequency_penalty"):
        draw = Draw(SamplingOptions(**{name: 1.0}), GREEDY, None, prompt_tokens=0)
        drawn[name] = [draw.next(logits, [1] * count).item() for count in range(3)]
    assert drawn == {"presence_penalty": [1, 1, 1], "frequency_penalty": [1, 1, 2]}


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


@pytest.mark.parametrize("options", [{}, {"temperature": 1.5, "seed": 4}, {"top_logprobs": 5}])
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
        # Where the schema leaves fewer tokens than were asked for there are fewer, and JSON has no infinity.
        for token in answer.tokens:
            assert math.isfinite(token.logprob)
            assert all(math.isfinite(top.logprob) for top in token.top_logprobs)
            assert bool(token.top_logprobs) is ("top_logprobs" in options)


async def test_a_schema_binds_its_own_request_only(worker, reference):
    bound, free = await asyncio.gather(
        worker.generate("x", max_tokens=100, json_schema=json.dumps(SCHEMA)),
        worker.generate(PROMPT, max_tokens=24),
    )
    assert json.loads(bound.text)
    assert free.ids == reference.generate(PROMPT, 24)[0]


def test_a_models_vocabulary_is_its_own_whatever_its_name_and_goes_with_it():
    constraints = Constraints()

    def model_with(end_token: int):
        # A tokenizer for each, as two models have that come under one name after each other.
        return types.SimpleNamespace(
            id="llama", tokenizer=read_files("tiny").tokenizer, end_tokens=frozenset({end_token})
        )

    ends, models = [], [model_with(3), model_with(4)]
    for model in models:
        constraint = constraints.for_schema(model, '{"const": 7}')
        for token in model.tokenizer.encode("7", add_special_tokens=False):
            constraint.accept(token)
        allowed = np.isfinite(np.array(constraint.mask(mx.zeros((1, 600)))))[0]
        ends.append(np.flatnonzero(allowed).tolist())
    assert ends == [[3], [4]]
    del model, models
    gc.collect()
    assert len(constraints) == 0


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
