"""Stuck engines, supervision, memory, limits and models."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from conftest import GATED, StepGate, collect, running_worker
from test_admission import refusal
from test_server import get

from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.model import PACKAGED_MODELS

FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def copy_of_tiny(folder: Path, **changes) -> str:
    """The packaged model under another name, and with another configuration."""
    folder.mkdir()
    for file in (PACKAGED_MODELS / "tiny").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return str(folder)


async def test_deep_health_generates_a_token(worker):
    status, body = await get(worker, "/health/deep")
    assert (status, json.loads(body)["status"]) == (200, "ok")


async def test_deep_health_fails_when_no_token_can_be_made():
    async with running_worker() as worker:
        (served,) = worker.app.engine.work.models
        served.forward.last_logits = lambda tokens, caches: 1 / 0
        status, body = await get(worker, "/health/deep")
        assert (status, json.loads(body)["reason"]) == (503, "STEP_FAILED")


async def test_a_request_that_could_never_fit_is_refused_and_others_go_on(reference):
    async with running_worker() as worker:
        (served,) = worker.app.engine.work.models
        room = served.bytes_per_token * 700
        limit = served.model.weight_bytes + room
        await worker.stub.SetLimits(wpb.SetLimitsRequest(memory_limit_bytes=limit))
        code, metadata, _ = await refusal(worker.call("A flag", max_tokens=1000))
        assert (code, metadata["reason"]) == (EXHAUSTED, "MEMORY_LIMIT")
        answers = await asyncio.gather(
            *(
                worker.generate(
                    "The kill switch",
                    max_tokens=40,
                    request={"enabled_flags": ["ttft_pipeline.kv_prep"]},
                )
                for _ in range(8)
            )
        )
        assert {tuple(answer.ids) for answer in answers} == {
            tuple(reference.generate("The kill switch", 40)[0])
        }


async def test_limits_hold_from_the_moment_they_are_set():
    gate = StepGate()
    async with running_worker(gate.make_sampler, max_batch=1) as worker:
        calls = [worker.call("A flag", **GATED) for _ in range(3)]
        for call in calls:
            assert (await call.read()).WhichOneof("event") == "accepted"
        await worker.until(lambda stats: stats.running_requests == 1 and stats.queued_requests == 2)
        changed = asyncio.ensure_future(
            worker.stub.SetLimits(wpb.SetLimitsRequest(max_batch=2, max_queue=1, decode_gap_ms=20))
        )
        gate.permit(4)
        limits = await changed
        assert (limits.max_batch, limits.max_queue, limits.decode_gap_ms) == (2, 1, 20)
        assert limits.prefill_chunk == 512
        gate.permit(4)
        await worker.until(lambda stats: stats.running_requests == 2 and stats.queued_requests == 1)
        code, metadata, _ = await refusal(worker.call("x", max_tokens=1))
        assert (code, metadata["reason"]) == (EXHAUSTED, "QUEUE_FULL")
        gate.open()
        for call in calls:
            call.cancel()


async def test_a_queue_full_of_tokens_refuses_with_a_time_to_retry_after():
    gate = StepGate()
    async with running_worker(gate.make_sampler, max_batch=1, max_queue_tokens=20) as worker:
        running = worker.call("A flag", **GATED)
        assert (await running.read()).WhichOneof("event") == "accepted"
        await worker.until(lambda stats: stats.running_requests == 1)
        waiting = worker.call("A flag and a canary", max_tokens=1)
        assert (await waiting.read()).WhichOneof("event") == "accepted"
        code, metadata, _ = await refusal(worker.call("A flag and a canary " * 3, max_tokens=1))
        assert (code, metadata["reason"]) == (EXHAUSTED, "QUEUE_TOKENS_FULL")
        assert int(metadata["retry-after-ms"]) >= 100
        gate.open()
        running.cancel()


@pytest.mark.parametrize("fields", [{"max_batch": 0}, {"prefill_chunk": 1}, {"decode_gap_ms": 0}])
async def test_a_limit_out_of_range_changes_nothing(worker, fields):
    before = await worker.stub.SetLimits(wpb.SetLimitsRequest())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await worker.stub.SetLimits(wpb.SetLimitsRequest(max_queue=7, **fields))
    assert dict(caught.value.trailing_metadata())["reason"] == "LIMIT_INVALID"
    assert await worker.stub.SetLimits(wpb.SetLimitsRequest()) == before


async def test_two_models_answer_beside_each_other(tmp_path, reference):
    second = copy_of_tiny(tmp_path / "second", rope_theta=500.0)
    async with running_worker() as worker:
        loaded = await worker.stub.LoadModel(wpb.LoadModelRequest(model=second, pin=True))
        assert (loaded.model.id, loaded.model.pinned, loaded.model.is_default) == ("second", True, False)
        flags = {"enabled_flags": ["ttft_pipeline.kv_prep"]}
        for _ in range(2):
            one, other = await asyncio.gather(
                worker.generate("The kill switch", max_tokens=24, request=flags),
                worker.generate("The kill switch", max_tokens=24, model="second", request=flags),
            )
        assert one.ids == reference.generate("The kill switch", 24)[0] != other.ids
        assert (one.accepted.model, other.accepted.model) == ("tiny", "second")
        models = (await worker.stub.ListModels(wpb.WorkerListModelsRequest())).models
        assert [(model.id, model.is_default) for model in models] == [("tiny", True), ("second", False)]
        before = (await worker.until(lambda stats: True)).prefix_cache.entries
        await worker.stub.UnloadModel(wpb.UnloadModelRequest(model="second"))
        stats = await worker.until(lambda stats: stats.prefix_cache.entries < before)
        assert stats.prefix_cache.entries > 0
        _, metadata, _ = await refusal(worker.call("x", model="second"))
        assert metadata["reason"] == "MODEL_NOT_FOUND"


async def test_models_stay_within_their_budget(tmp_path):
    names = [copy_of_tiny(tmp_path / name) for name in ("one", "two", "three")]
    async with running_worker() as worker:
        size = worker.app.lifecycle.model.weight_bytes
    async with running_worker(model_bytes=int(size * 2.5)) as worker:
        await worker.stub.LoadModel(wpb.LoadModelRequest(model=names[0]))
        loaded = await worker.stub.LoadModel(wpb.LoadModelRequest(model=names[1]))
        assert list(loaded.unloaded) == ["one"]
        pinned = await worker.stub.PinModel(wpb.PinModelRequest(model="two", pinned=True))
        assert pinned.model.pinned
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await worker.stub.LoadModel(wpb.LoadModelRequest(model=names[2]))
        assert dict(caught.value.trailing_metadata())["reason"] == "MODEL_TOO_LARGE"
        models = (await worker.stub.ListModels(wpb.WorkerListModelsRequest())).models
        assert [model.id for model in models] == ["tiny", "two"]


@pytest.mark.parametrize(
    ("call", "code", "reason"),
    [
        (
            lambda stub: stub.UnloadModel(wpb.UnloadModelRequest(model="tiny")),
            FAILED_PRECONDITION,
            "MODEL_IN_USE",
        ),
        (
            lambda stub: stub.UnloadModel(wpb.UnloadModelRequest(model="other")),
            grpc.StatusCode.NOT_FOUND,
            "MODEL_NOT_FOUND",
        ),
        (lambda stub: stub.LoadModel(wpb.LoadModelRequest()), grpc.StatusCode.NOT_FOUND, "MODEL_NOT_LOADED"),
    ],
)
async def test_a_model_that_cannot_be_moved_is_a_typed_refusal(worker, call, code, reason):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(worker.stub)
    assert caught.value.code() is code
    assert dict(caught.value.trailing_metadata())["reason"] == reason


async def test_fuzzed_requests_end_and_leave_nothing(request, reference):
    count = 10_000 if request.config.getoption("--full") else 400
    draw = random.Random(11)
    values = {
        "max_tokens": [0, 1, 3, 9],
        "temperature": [-1.0, 0.0, 0.7, 2.0, float("nan")],
        "top_p": [0.0, 0.5, 1.0],
        "top_k": [0, 1, 5, 10_000],
        "min_p": [0.0, 0.3, 2.0],
        "repetition_penalty": [0.0, 1.2],
        "presence_penalty": [0.0, 1.5, 9.0],
        "logit_bias": [{}, {3: 5.0}, {10**6: 1.0}],
        "top_logprobs": [0, 2, 99],
        "stop": [[], ["e"], [""]],
        "json_schema": ["", "{", '{"type": "integer"}'],
        "seed": [1, -1],
    }
    prompts = ["", "A flag", "The kill switch " * 20, "\x00\ud7ff", "flag " * 3000, "漢字😀"]
    names = ["ttft_pipeline.warmup_queue", "ttft_pipeline.speculation", "ttft_pipeline.kv_prep", "other"]
    known = {
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
    async with running_worker(max_batch=4, max_queue=50, prefill_chunk=64) as worker:

        async def one() -> None:
            options = {
                name: draw.choice(values[name]) for name in draw.sample(list(values), draw.randint(0, 4))
            }
            fields = {
                "enabled_flags": draw.sample(names, draw.randint(0, 4)),
                "priority": draw.choice([0, 1, 2, 3, 4, 77]),
                "tenant": draw.choice(["", "a"]),
            }
            options.setdefault("max_tokens", 5)
            call = worker.call(
                draw.choice(prompts), model=draw.choice(["", "tiny", "x"]), request=fields, **options
            )
            if draw.random() < 0.2:
                call.cancel()
                return
            with suppress(grpc.aio.AioRpcError):
                await collect(call)
            assert await call.code() in known

        for _ in range(count // 50):
            await asyncio.gather(*(one() for _ in range(50)))
        stats = await worker.until(lambda stats: stats.running_requests == stats.queued_requests == 0)
        assert (stats.failed_requests_total, stats.queued_tokens) == (0, 0)
        answer = await worker.generate("The kill switch", max_tokens=12)
        assert answer.ids == reference.generate("The kill switch", 12)[0]
