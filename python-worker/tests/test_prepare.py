"""Prepare: prompts are warmed while their requests wait elsewhere, and what cannot be goes on cold."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from conftest import GATED, StepGate, collect, running_worker

from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb

WARM, SPECULATE, KV = "ttft_pipeline.warmup_queue", "ttft_pipeline.speculation", "ttft_pipeline.kv_prep"
PROMPT = "A kill switch turns a feature off at once, for everybody. " * 4


@pytest.fixture
def patient(tmp_path) -> str:
    """A runtime configuration by which what was announced is waited for, however slow the machine is."""
    path = tmp_path / "patient.yaml"
    path.write_text("ttft_accelerator: {warm_queue: {ttl_ms: 3600000}}")
    return str(path)


def announcement(name: str = "one", prompt: str = PROMPT, flags=(WARM,), **fields) -> wpb.PrepareRequest:
    return wpb.PrepareRequest(request_id=name, prompt=prompt, enabled_flags=flags, **fields)


async def generate(worker, name: str = "one", prompt: str = PROMPT, flags=(WARM,), count: int = 12, **fields):
    message = wpb.WorkerGenerateRequest(request_id=name, prompt=prompt, enabled_flags=flags, **fields)
    message.sampling.max_tokens = count
    return await collect(worker.stub.Generate(message))


async def settled(worker) -> int:
    """Waits until all that was announced is computed. Returns how many tokens that took."""
    queue = worker.app.engine.work.warm_queue
    while await worker.app.engine.call(lambda: queue.pending):
        pass
    return queue.computed_tokens


def warmed(answer) -> bool:
    return "stage:warmed" in [stage.name for stage in answer.finished.stages]


def left_over(worker) -> int:
    return len(worker.app.engine.work.warm_queue)


@pytest.mark.parametrize("flags", [(WARM,), (WARM, KV), (WARM, SPECULATE, KV)])
async def test_a_prepared_request_has_nothing_left_to_compute_and_the_same_answer(patient, reference, flags):
    async with running_worker(prefill_chunk=16, runtime_config=patient) as worker:
        announced = await worker.stub.Prepare(announcement(flags=flags))
        assert (announced.warming, announced.ttl_ms) == (True, 3_600_000)
        assert await settled(worker) == announced.prompt_tokens
        before = worker.app.engine.work.statistics.computed_tokens
        answer = await generate(worker, flags=flags)
        assert answer.ids == reference.generate(PROMPT, 12)[0]
        assert warmed(answer)
        assert worker.app.engine.work.statistics.computed_tokens == before
        stats = await worker.until(lambda stats: stats.warm_queue.prepared == 1)
        assert (stats.warm_queue.size, stats.warm_queue.warmed, stats.warm_queue.queued) == (0, 1, 1)
        assert left_over(worker) == 0


async def test_a_prompt_is_warmed_beside_running_streams_and_taken_over_half_way(patient, reference):
    gate = StepGate()
    settings = {"max_batch": 2, "prefill_chunk": 16, "runtime_config": patient}
    async with running_worker(gate.make_sampler, **settings) as worker:
        running = worker.call("A flag", **GATED)
        assert (await running.read()).WhichOneof("event") == "accepted"
        gate.permit(2)
        await worker.until(lambda stats: stats.running_requests == 1)
        announced = await worker.stub.Prepare(announcement())
        gate.permit(3)
        queue = worker.app.engine.work.warm_queue
        await worker.until(lambda stats: queue.computed_tokens > 0)
        assert queue.computed_tokens < announced.prompt_tokens
        answering = asyncio.ensure_future(generate(worker))
        gate.open()
        answer = await answering
        assert answer.ids == reference.generate(PROMPT, 12)[0]
        assert warmed(answer)
        running.cancel()


@pytest.mark.parametrize(
    "changed",
    [{"tenant": "b"}, {"name": "two"}, {"prompt": "Another text"}],
    ids=["tenant", "request", "prompt"],
)
async def test_only_the_announced_request_goes_on_from_it(patient, reference, changed):
    async with running_worker(runtime_config=patient) as worker:
        await worker.stub.Prepare(announcement(tenant="a"))
        await settled(worker)
        answer = await generate(worker, **{"tenant": "a", **changed})
        assert answer.ids == reference.generate(changed.get("prompt", PROMPT), 12)[0]
        assert not warmed(answer)


async def test_a_second_announcement_replaces_the_first(patient, reference):
    async with running_worker(runtime_config=patient) as worker:
        await asyncio.gather(
            *(worker.stub.Prepare(announcement(prompt=text)) for text in ("A flag", PROMPT) * 3)
        )
        await worker.stub.Prepare(announcement())
        await settled(worker)
        assert left_over(worker) == 1
        answer = await generate(worker)
        assert (answer.ids, warmed(answer)) == (reference.generate(PROMPT, 12)[0], True)


async def test_what_nobody_asks_for_in_time_is_freed_and_goes_on_cold(tmp_path, reference):
    path = tmp_path / "runtime.yaml"
    path.write_text("ttft_accelerator: {warm_queue: {ttl_ms: 1}}")
    async with running_worker(runtime_config=str(path)) as worker:
        assert (await worker.stub.Prepare(announcement())).ttl_ms == 1
        stats = await worker.until(lambda stats: stats.warm_queue.expired == 1)
        assert (stats.warm_queue.size, left_over(worker)) == (0, 0)
        answer = await generate(worker)
        assert (answer.ids, warmed(answer)) == (reference.generate(PROMPT, 12)[0], False)


async def test_what_was_announced_is_waited_for_as_long_as_it_says():
    async with running_worker() as worker:
        assert (await worker.stub.Prepare(announcement())).ttl_ms == 800


async def test_what_cannot_be_warmed_goes_on_cold(tmp_path, reference):
    path = tmp_path / "runtime.yaml"
    path.write_text(
        "ttft_accelerator: {warm_queue: {max_size: 1, ttl_ms: 3600000, priority_by_tokens: true}}"
    )
    async with running_worker(runtime_config=str(path)) as worker:
        reasons = [
            (await worker.stub.Prepare(asked)).reason
            for asked in (
                announcement(flags=()),
                announcement(""),
                announcement(model="other"),
                announcement(prompt=""),
                announcement(prompt="flag " * 5000),
                announcement("first"),
                announcement("second"),
            )
        ]
        assert reasons == ["OFF", "OFF", "MODEL_NOT_FOUND", "PROMPT_EMPTY", "PROMPT_TOO_LONG", "", "FULL"]
        await settled(worker)
        for name, was_warm in (("second", False), ("first", True)):
            answer = await generate(worker, name)
            assert (answer.ids, warmed(answer)) == (reference.generate(PROMPT, 12)[0], was_warm)
        stats = await worker.until(lambda stats: stats.running_requests == 0)
        assert (stats.warm_queue.overflowed, stats.warm_queue.size, left_over(worker)) == (1, 0, 0)


async def test_there_is_no_room_for_more_than_the_budget_of_kept_prompts(patient, reference):
    async with running_worker(prefix_cache_bytes=100, runtime_config=patient) as worker:
        assert (await worker.stub.Prepare(announcement())).warming
        assert await settled(worker) == 0
        assert (await generate(worker)).ids == reference.generate(PROMPT, 12)[0]
        assert left_over(worker) == 0


async def test_a_fault_while_warming_harms_nobody(patient, reference):
    async with running_worker(runtime_config=patient) as worker:
        (served,) = worker.app.engine.work.models
        whole = served.forward.last_logits
        served.forward.last_logits = lambda tokens, caches: 1 / 0
        await worker.stub.Prepare(announcement())
        await settled(worker)
        served.forward.last_logits = whole
        assert left_over(worker) == 0
        answer = await generate(worker)
        assert (answer.ids, warmed(answer)) == (reference.generate(PROMPT, 12)[0], False)


async def test_a_request_that_leaves_before_its_turn_frees_what_was_warmed(patient):
    gate = StepGate()
    async with running_worker(gate.make_sampler, max_batch=1, runtime_config=patient) as worker:
        await worker.stub.Prepare(announcement(flags=(WARM,)))
        await settled(worker)
        running = worker.call("A flag", **GATED)
        assert (await running.read()).WhichOneof("event") == "accepted"
        await worker.until(lambda stats: stats.running_requests == 1)
        message = wpb.WorkerGenerateRequest(request_id="one", prompt=PROMPT, enabled_flags=[WARM])
        waiting = worker.stub.Generate(message)
        assert (await waiting.read()).WhichOneof("event") == "accepted"
        waiting.cancel()
        gate.open()
        running.cancel()
        await worker.until(lambda stats: stats.cancelled_requests_total == 2)
        await worker.app.engine.call(lambda: None)
        assert left_over(worker) == 0


async def test_an_allowed_prompt_is_ready_for_its_first_caller(reference):
    async with running_worker() as worker:
        allowed = await worker.stub.AllowSpeculation(wpb.AllowSpeculationRequest(prompt=PROMPT))
        assert allowed.allowlisted == 1
        await worker.until(lambda stats: stats.speculation.prepared == 1)
        answer = await generate(worker, flags=(SPECULATE,))
        assert answer.ids == reference.generate(PROMPT, 12)[0]
        (hit,) = [stage for stage in answer.finished.stages if stage.name == "speculation:hit"]
        assert (len(hit.prompt_hash), hit.confidence) == (16, 1.0)
        removed = await worker.stub.AllowSpeculation(wpb.AllowSpeculationRequest(prompt=PROMPT, remove=True))
        assert removed.allowlisted == 0
        assert "speculation:hit" not in [
            stage.name for stage in (await generate(worker, flags=(SPECULATE,))).finished.stages
        ]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await worker.stub.AllowSpeculation(wpb.AllowSpeculationRequest())
        assert dict(caught.value.trailing_metadata())["reason"] == "PROMPT_EMPTY"
