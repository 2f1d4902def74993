"""Each limit acts from the moment it is set, and each statistic moves with what it counts."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from conftest import GATED, StepGate, running_worker
from test_admission import refusal

from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.supervisor import RESTARTS_VARIABLE

KV = {"enabled_flags": ["ttft_pipeline.kv_prep"]}
LONG = "A kill switch turns a feature off at once, for everybody. " * 6


async def set_limits(worker, **limits) -> None:
    await worker.stub.SetLimits(wpb.SetLimitsRequest(**limits))


def watch_chunks(worker) -> list[int]:
    """How many prompt tokens each pass of the network computes from now on."""
    (served,) = worker.app.engine.work.models
    seen: list[int] = []

    def counted(whole):
        def run(tokens, caches):
            seen.append(len(tokens))
            return whole(tokens, caches)

        return run

    served.forward.fill = counted(served.forward.fill)
    served.forward.last_logits = counted(served.forward.last_logits)
    return seen


async def test_limits_that_are_lent_end_by_themselves_and_leave_the_workers_own():
    async with running_worker(max_batch=4) as worker:

        async def read() -> wpb.SetLimitsResponse:
            return await worker.stub.SetLimits(wpb.SetLimitsRequest())

        await set_limits(worker, max_batch=9, ttl_ms=60_000)
        assert ((await read()).max_batch, (await read()).own_max_batch) == (9, 4)
        await set_limits(worker, max_queue=7)
        assert ((await read()).max_batch, (await read()).max_queue) == (9, 7)
        await set_limits(worker, max_batch=2, ttl_ms=1)
        while (await read()).max_batch != 4:
            pass
        assert (await read()).max_queue == 7
        with pytest.raises(grpc.aio.AioRpcError):
            await set_limits(worker, max_batch=0, ttl_ms=60_000)
        await set_limits(worker, max_batch=9, ttl_ms=60_000)
        await set_limits(worker, max_batch=5)
        assert ((await read()).max_batch, (await read()).own_max_batch) == (5, 5)


async def test_the_prefill_chunk_is_the_most_that_is_computed_at_once(reference):
    async with running_worker() as worker:
        seen = watch_chunks(worker)
        for chunk in (16, 40, 512):
            await set_limits(worker, prefill_chunk=chunk)
            seen.clear()
            answer = await worker.generate(LONG, max_tokens=8)
            assert answer.ids == reference.generate(LONG, 8)[0]
            assert max(seen) == min(chunk, answer.accepted.prompt_tokens)


async def test_the_decode_gap_is_what_prefill_leaves_to_running_streams():
    async with running_worker() as worker:
        await worker.generate(LONG, max_tokens=8)
        pace = worker.app.engine.work.pace
        await set_limits(worker, decode_gap_ms=60_000)
        patient = await worker.app.engine.call(lambda: pace.chunk(2, 1))
        await set_limits(worker, decode_gap_ms=1)
        hasty = await worker.app.engine.call(lambda: pace.chunk(2, 1))
        assert hasty < patient == worker.app.engine.limits.prefill_chunk


async def test_the_batch_grows_and_shrinks_while_it_runs():
    gate = StepGate()
    async with running_worker(gate.make_sampler, max_batch=1) as worker:
        calls = [worker.call("A flag", **GATED) for _ in range(3)]
        for call in calls:
            assert (await call.read()).WhichOneof("event") == "accepted"
        await worker.until(lambda stats: (stats.running_requests, stats.queued_requests) == (1, 2))
        growing = asyncio.ensure_future(set_limits(worker, max_batch=3))
        gate.permit(6)
        await growing
        gate.permit(6)
        await worker.until(lambda stats: (stats.running_requests, stats.queued_requests) == (3, 0))
        shrinking = asyncio.ensure_future(set_limits(worker, max_batch=1))
        gate.permit(12)
        await shrinking
        # Who runs, runs on; nobody else comes in before there is a place.
        late = worker.call("A flag", max_tokens=1)
        assert (await late.read()).WhichOneof("event") == "accepted"
        gate.permit(12)
        stats = await worker.until(lambda stats: stats.queued_requests == 1)
        assert stats.running_requests == 3
        gate.open()
        for call in calls:
            call.cancel()
        assert (await late.read()).WhichOneof("event") == "chunk"


async def test_the_queue_is_bounded_anew_by_requests_and_by_tokens():
    gate = StepGate()
    async with running_worker(gate.make_sampler, max_batch=1) as worker:
        running = worker.call("A flag", **GATED)
        assert (await running.read()).WhichOneof("event") == "accepted"
        await worker.until(lambda stats: stats.running_requests == 1)
        waiting = worker.call(LONG, max_tokens=1)
        assert (await waiting.read()).WhichOneof("event") == "accepted"
        for limits, reason in (
            ({"max_queue": 1}, "QUEUE_FULL"),
            ({"max_queue": 9, "max_queue_tokens": 1}, "QUEUE_TOKENS_FULL"),
        ):
            # The engine stands still, and the queue's limits hold all the same.
            changing = asyncio.ensure_future(set_limits(worker, **limits))
            await worker.until(
                lambda stats, most=limits["max_queue"]: worker.app.engine.limits.max_queue == most
            )
            code, metadata, _ = await refusal(worker.call(LONG, max_tokens=1))
            assert (code, metadata["reason"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
            gate.permit(2)
            await changing
        gate.open()
        running.cancel()


async def test_kept_prompts_go_when_their_budget_or_the_memory_limit_shrinks(reference):
    async with running_worker() as worker:
        (served,) = worker.app.engine.work.models
        # A request of its own needs some 360 positions, mlx-lm's room of 256 included.
        room = served.bytes_per_token * 400
        for limits in (
            {"prefix_cache_bytes": room},
            {"prefix_cache_bytes": 2**28, "memory_limit_bytes": served.model.weight_bytes + room},
        ):
            await set_limits(worker, memory_limit_bytes=0, prefix_cache_bytes=2**28)
            for number in range(8):
                await worker.generate(f"{number} {LONG}", max_tokens=8, request=KV)
            before = await worker.until(lambda stats: stats.prefix_cache.bytes > room)
            await set_limits(worker, **limits)
            after = await worker.until(lambda stats: stats.prefix_cache.bytes <= room)
            assert after.prefix_cache.evictions > before.prefix_cache.evictions
            for _ in range(2):
                answer = await worker.generate(f"7 {LONG}", max_tokens=8, request=KV)
                assert answer.ids == reference.generate(f"7 {LONG}", 8)[0]
                assert (await worker.until(lambda stats: True)).prefix_cache.bytes <= room


async def test_each_statistic_moves_with_what_it_counts(monkeypatch):
    monkeypatch.setenv(RESTARTS_VARIABLE, "3")
    gate = StepGate()
    async with running_worker(gate.make_sampler, max_batch=1) as worker:
        first = await worker.until(lambda stats: True)
        assert (first.requests_total, first.ttft.requests, first.restarts) == (0, 0, 3)
        assert first.accelerator_enabled
        for _ in range(2):
            await worker.generate(LONG, max_tokens=3, request=KV)
        with pytest.raises(grpc.aio.AioRpcError):
            await worker.generate("")
        running = worker.call("A flag", **GATED)
        assert (await running.read()).WhichOneof("event") == "accepted"
        waiting = worker.call(LONG, max_tokens=1)
        assert (await waiting.read()).WhichOneof("event") == "accepted"
        during = await worker.until(lambda stats: (stats.running_requests, stats.queued_requests) == (1, 1))
        assert during.queued_tokens > 10
        # The draw stands still, so the present step takes ever longer.
        assert (await worker.until(lambda stats: stats.heartbeat_age_ms > 50)).heartbeat_age_ms > 50
        running.cancel()
        gate.open()
        assert (await waiting.read()).WhichOneof("event") == "chunk"
        last = await worker.until(
            lambda stats: stats.requests_total == 5 and stats.running_requests == stats.queued_tokens == 0
        )
        assert (last.cancelled_requests_total, last.failed_requests_total) == (1, 0)
        assert last.generated_tokens_total >= 7
        assert last.ttft.requests >= 3
        assert all(
            value > 0 for value in (last.ttft.tokenize_ms, last.ttft.prefill_ms, last.ttft.first_emit_ms)
        )
        assert last.ttft.queue_ms > first.ttft.queue_ms
        assert (last.prefix_cache.hits, last.prefix_cache.misses) == (1, 1)
        assert min(last.prefix_cache.bytes, last.prefix_cache.entries, last.prefix_cache.reused_tokens) > 0
        assert last.active_memory_bytes >= first.active_memory_bytes > 0
        assert last.resident_memory_bytes > 0
        assert last.uptime_seconds > first.uptime_seconds
        assert last.pid == first.pid
