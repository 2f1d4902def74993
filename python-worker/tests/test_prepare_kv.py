"""Prompts that are computed in idle time, kept and pinned within the budget."""

from __future__ import annotations

import asyncio
import threading

import grpc
import pytest
from conftest import GATE_TIMEOUT_SECONDS, GATED, StepGate, running_worker
from test_stages import KV, SPECULATE, SYSTEM, cached, flags

from mlx_worker.engine.prefix_tree import PrefixTree
from mlx_worker.errors import ServiceError
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb


async def test_a_prepared_prompt_is_kept_and_pinned_within_the_budget(reference):
    async with running_worker() as worker:
        (served,) = worker.app.engine.work.models
        tokens = len(reference.tokenizer.encode(SYSTEM))
        budget = served.bytes_per_token * (tokens + 10)
        await worker.stub.SetLimits(wpb.SetLimitsRequest(prefix_cache_bytes=budget))
        request = wpb.PrepareKvRequest(prompt=SYSTEM, pin=True)
        prepared = await worker.stub.PrepareKv(request)
        assert (prepared.prepared, prepared.cached_tokens) == (True, 0)
        for text in ("Something else. " * 20, "And more of it. " * 20):
            await worker.generate(text, max_tokens=12, request=flags(KV))
        answer = await worker.generate(SYSTEM + "flag", max_tokens=12, request=flags(KV))
        assert answer.ids == reference.generate(SYSTEM + "flag", 12)[0]
        assert cached(answer) >= prepared.prompt_tokens - 2
        stats = await worker.until(lambda stats: True)
        assert (stats.prefix_cache.pinned, stats.prefix_cache.bytes <= budget) == (1, True)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await worker.stub.PrepareKv(wpb.PrepareKvRequest(prompt="x " + SYSTEM, pin=True))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(caught.value.trailing_metadata())["reason"] == "PINS_FULL"
        assert (await worker.stub.PrepareKv(wpb.PrepareKvRequest(prompt=SYSTEM, unpin=True))).prepared
        await worker.generate("Something else. " * 20, max_tokens=12, request=flags(KV))
        assert (await worker.until(lambda stats: True)).prefix_cache.pinned == 0


async def test_a_preparation_stands_still_while_anybody_is_served(reference):
    gate = StepGate()
    async with running_worker(gate.make_sampler) as worker:
        running = worker.call("A flag", **GATED)
        assert (await running.read()).WhichOneof("event") == "accepted"
        preparing = asyncio.ensure_future(worker.stub.PrepareKv(wpb.PrepareKvRequest(prompt=SYSTEM)))
        gate.permit(10)
        # Several steps later the real request has its tokens, and the preparation none.
        read = 0
        while read < 8:
            read += len((await running.read()).chunk.tokens)
        assert worker.app.engine.work.statistics.prepared_prompts == 0
        assert not preparing.done()
        running.cancel()
        gate.open()
        assert (await preparing).prepared


async def test_an_abandoned_preparation_does_not_keep_the_engine_busy():
    gate = StepGate()
    async with running_worker(gate.make_sampler) as worker:
        running = worker.call("A flag", **GATED)
        assert (await running.read()).WhichOneof("event") == "accepted"
        call = worker.stub.PrepareKv(wpb.PrepareKvRequest(prompt=SYSTEM))
        gate.permit(2)
        await worker.app.engine.call(lambda: None)
        call.cancel()
        gate.open()
        running.cancel()
        stats = await worker.until(lambda stats: stats.running_requests == 0)
        assert stats.prefix_cache.pinned == 0


async def test_a_predicted_prompt_is_computed_in_idle_time(tmp_path):
    path = tmp_path / "runtime.yaml"
    path.write_text(
        "ttft_accelerator: {speculation: {min_confidence: 0.3, decay_factor: 0.8},"
        " kv_prep: {enabled: true, prefetch_enabled: true, cache_warmup_ms: 50}}"
    )
    async with running_worker(runtime_config=str(path)) as worker:
        # Speculation without kv_prep keeps no KV of its own accord, so what is known later was prepared.
        for _ in range(3):
            for prompt in ("The kill switch", SYSTEM):
                await worker.generate(prompt, max_tokens=2, request=flags(SPECULATE))
        await worker.generate("The kill switch", max_tokens=2, request=flags(SPECULATE))
        await worker.until(lambda stats: stats.speculation.prepared >= 2)
        answer = await worker.generate(SYSTEM, max_tokens=2, request=flags(KV))
        assert cached(answer) == answer.accepted.prompt_tokens - 1


async def test_a_pin_that_is_asked_for_again_is_counted_once(reference):
    async with running_worker() as worker:
        (served,) = worker.app.engine.work.models
        tokens = len(reference.tokenizer.encode(SYSTEM))
        await worker.stub.SetLimits(
            wpb.SetLimitsRequest(prefix_cache_bytes=served.bytes_per_token * (tokens + 10))
        )
        request = wpb.PrepareKvRequest(prompt=SYSTEM, pin=True)
        # A retry meets the first one while it waits, and once it is pinned.
        together = await asyncio.gather(worker.stub.PrepareKv(request), worker.stub.PrepareKv(request))
        again = await worker.stub.PrepareKv(request)
        assert [answer.prepared for answer in (*together, again)] == [True] * 3
        assert (await worker.until(lambda stats: True)).prefix_cache.pinned == 1


async def test_pins_that_wait_are_counted_so_that_together_they_fit(reference):
    gate = StepGate()
    async with running_worker(gate.make_sampler) as worker:
        (served,) = worker.app.engine.work.models
        prompt = reference.tokenizer.encode(SYSTEM)
        budget = served.bytes_per_token * (len(prompt) * 3 // 2)
        await worker.stub.SetLimits(wpb.SetLimitsRequest(prefix_cache_bytes=budget))
        running = worker.call("A flag", **GATED)
        assert (await running.read()).WhichOneof("event") == "accepted"
        engine = worker.app.engine
        asked = [
            asyncio.ensure_future(
                engine.prepare("tiny", "", [first, *prompt], pin=True, allow_speculation=False)
            )
            for first in (5, 6)
        ]
        await asyncio.sleep(0)
        gate.permit(3)
        # The second is refused while the first one waits for idle time.
        done, _ = await asyncio.wait(asked, timeout=GATE_TIMEOUT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = done
        assert refused is asked[1]
        assert isinstance(refused.exception(), ServiceError)
        assert refused.exception().reason == "PINS_FULL"
        running.cancel()
        gate.open()
        (kept,) = set(asked) - done
        assert (await kept).prepared
        stats = await worker.until(lambda stats: stats.prefix_cache.pinned == 1)
        assert stats.prefix_cache.bytes <= budget


async def test_a_preparation_whose_caller_goes_before_its_turn_is_not_made(reference):
    async with running_worker() as worker:
        engine = worker.app.engine
        tokens = reference.tokenizer.encode(SYSTEM)
        at_work, go_on = threading.Event(), threading.Event()

        def stand_still() -> None:
            at_work.set()
            assert go_on.wait(GATE_TIMEOUT_SECONDS)

        standing = asyncio.ensure_future(engine.call(stand_still))
        await asyncio.to_thread(at_work.wait, GATE_TIMEOUT_SECONDS)
        preparing = asyncio.ensure_future(
            engine.prepare("tiny", "", tokens, pin=True, allow_speculation=True)
        )
        await asyncio.sleep(0)
        preparing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await preparing
        go_on.set()
        await standing
        assert await engine.call(lambda: len(engine.work.idle)) == 0
        assert (engine.work.speculation.allowlisted, engine.work.prefixes.pinned) == (0, 0)


async def test_statistics_do_not_walk_what_the_engine_changes(reference, monkeypatch):
    async with running_worker() as worker:
        await worker.stub.PrepareKv(wpb.PrepareKvRequest(prompt=SYSTEM, pin=True))

        def nobody(tree):
            raise AssertionError("edges are the engine's thread's")

        monkeypatch.setattr(PrefixTree, "edges", nobody)
        stats = await worker.until(lambda stats: True)
        assert (stats.prefix_cache.entries, stats.prefix_cache.pinned) == (1, 1)
