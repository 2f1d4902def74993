"""Requests that cannot be served are refused with a status, a reason and what to do."""

from __future__ import annotations

import grpc
import pytest
from conftest import collect

from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb

INVALID = grpc.StatusCode.INVALID_ARGUMENT
HELLO = pb.ChatMessage(role="user", content="Hello")


def chat(*messages: pb.ChatMessage) -> dict[str, pb.Conversation]:
    return {"conversation": pb.Conversation(messages=messages)}


CASES = [
    ({}, INVALID, "PROMPT_EMPTY", "send a prompt"),
    ({"prompt": ""}, INVALID, "PROMPT_EMPTY", "send a prompt"),
    (chat(), INVALID, "PROMPT_EMPTY", "at least one message"),
    (
        chat(pb.ChatMessage(role="robot", content="x")),
        INVALID,
        "ROLE_UNKNOWN",
        "use system, user, assistant or tool",
    ),
    (chat(pb.ChatMessage(content="x")), INVALID, "ROLE_UNKNOWN", "''"),
    ({"prompt": "flag " * 3000}, INVALID, "PROMPT_TOO_LONG", "context is 2048"),
    ({"prompt": "x", "model": "other"}, grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", "use 'tiny'"),
    (
        {"prompt": "x", "sampling": pb.SamplingOptions(max_tokens=0)},
        INVALID,
        "MAX_TOKENS_INVALID",
        "at least 1",
    ),
    (
        {"prompt": "x", "sampling": pb.SamplingOptions(temperature=3)},
        INVALID,
        "TEMPERATURE_INVALID",
        "0 and 2",
    ),
    ({"prompt": "x", "sampling": pb.SamplingOptions(top_p=0)}, INVALID, "TOP_P_INVALID", "above 0"),
    ({"prompt": "x", "sampling": pb.SamplingOptions(stop=[""])}, INVALID, "STOP_INVALID", "at most 4"),
]


@pytest.mark.parametrize(("fields", "code", "reason", "hint"), CASES)
async def test_a_bad_request_is_refused(worker, fields, code, reason, hint):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await collect(worker.stub.Generate(wpb.WorkerGenerateRequest(**fields)))
    assert caught.value.code() is code
    assert dict(caught.value.trailing_metadata())["reason"] == reason
    assert hint in caught.value.details()


@pytest.mark.parametrize(("fields", "code", "reason", "hint"), CASES[:7])
async def test_tokenize_refuses_the_same(worker, fields, code, reason, hint):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await worker.stub.Tokenize(wpb.TokenizeRequest(**fields))
    assert (caught.value.code(), dict(caught.value.trailing_metadata())["reason"]) == (code, reason)


async def test_a_message_above_the_limit_is_refused(worker):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await collect(worker.stub.Generate(wpb.WorkerGenerateRequest(prompt="x" * (5 * 1024 * 1024))))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_bad_requests_are_counted_as_rejected_and_never_logged_with_their_text(worker):
    before = worker.app.metrics.requests_total
    secret = "correct horse battery staple"
    await worker.generate(secret, max_tokens=1)
    with pytest.raises(grpc.aio.AioRpcError):
        await worker.generate(secret, max_tokens=0)
    stats = await worker.until(lambda stats: stats.requests_total == before + 2)
    assert stats.failed_requests_total == 0
    assert secret not in worker.log.getvalue()
    assert '"prompt_sha256"' in worker.log.getvalue()


async def test_special_characters_and_control_codes_are_served(worker):
    for prompt in ("\x00", "\ud7ff", "😀" * 50, "<|end|>", "{{ 7 * 7 }}", "\u202e" * 10):
        assert (await worker.generate(chat=prompt, max_tokens=2)).ids
