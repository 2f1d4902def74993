"""Queue, cancellation, faults and drain, with the engine's steps under control."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import mlx.core as mx
import pytest
from conftest import ENDLESS, GATED, StepGate, collect, running_worker

from mlx_worker.errors import ServiceError
from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.sampling import GREEDY, RowSampler, sampler_for

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


async def next_event(call) -> str:
    return (await call.read()).WhichOneof("event")


async def hold_the_batch(worker):
    """A request that has its place in the batch and waits for permits."""
    call = worker.call("A flag", **GATED)
    assert await next_event(call) == "accepted"
    await worker.until(lambda stats: stats.running_requests == 1)
    return call


async def refusal(call) -> tuple[grpc.StatusCode, dict[str, str], str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await collect(call)
    error = caught.value
    return error.code(), dict(error.trailing_metadata()), error.details()


async def test_a_full_queue_refuses_with_a_time_to_retry_after():
    gate = StepGate()
    async with running_worker(gate.make_sampler, max_batch=1, max_queue=2) as worker:
        running = await hold_the_batch(worker)
        waiting = [worker.call("x", max_tokens=2) for _ in range(2)]
        for call in waiting:
            assert await next_event(call) == "accepted"
        code, metadata, message = await refusal(worker.call("x", max_tokens=2))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert metadata["reason"] == "QUEUE_FULL"
        assert int(metadata["retry-after-ms"]) >= 100
        assert message == "2 requests wait already: try again later"
        running.cancel()
        gate.open()
        for call in waiting:
            assert await next_event(call) == "chunk"


async def test_accepted_says_how_many_wait_before_it():
    gate = StepGate()
    async with running_worker(gate.make_sampler, max_batch=1) as worker:
        await hold_the_batch(worker)
        positions = []
        for _ in range(3):
            message = await worker.call("x", max_tokens=2).read()
            positions.append(message.accepted.queue_position)
        assert positions == [0, 1, 2]
        gate.open()


async def test_cancelling_a_waiting_request_frees_its_place_at_once():
    gate = StepGate()
    async with running_worker(gate.make_sampler, max_batch=1, max_queue=1) as worker:
        await hold_the_batch(worker)
        waiting = worker.call("x", max_tokens=2)
        assert await next_event(waiting) == "accepted"
        waiting.cancel()
        # The engine stands still in a step: the queue alone frees the place.
        await worker.until(lambda stats: stats.queued_requests == 0 and stats.cancelled_requests_total == 1)
        assert await next_event(worker.call("x", max_tokens=2)) == "accepted"
        gate.open()


async def test_a_more_urgent_request_goes_before_prompts_that_were_to_be_read_in_the_same_step():
    gate = StepGate()
    async with running_worker(gate.make_sampler) as worker:

        def ask(priority):
            return worker.call("A flag", temperature=1, max_tokens=1, request={"priority": priority})

        async def accepted(call):
            assert await next_event(call) == "accepted"
            return call

        await accepted(ask(wpb.PRIORITY_NORMAL))
        await worker.until(lambda stats: gate.draws_begun == 1)
        others = [await accepted(ask(wpb.PRIORITY_BACKGROUND)) for _ in range(2)]
        gate.permit(1)
        # The engine stands still in a step that shall read the prompts of both.
        await worker.until(lambda stats: gate.draws_begun == 2 and stats.queued_requests == 0)
        urgent = await accepted(ask(wpb.PRIORITY_NORMAL))
        gate.permit(2)
        first, second = (asyncio.ensure_future(next_event(call)) for call in (urgent, others[1]))
        done, _ = await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
        gate.open()
        assert done == {first}


@pytest.mark.parametrize(("prompt", "first_event"), [("A flag " * 200, None), ("A flag", "chunk")])
async def test_cancelling_during_prefill_or_decode_frees_the_slot_within_one_step(prompt, first_event):
    gate = StepGate()
    async with running_worker(gate.make_sampler, max_batch=2, prefill_chunk=16) as worker:
        await hold_the_batch(worker)
        victim = worker.call(prompt, **ENDLESS)
        assert await next_event(victim) == "accepted"
        gate.permit(5)
        if first_event:
            assert await next_event(victim) == first_event
        # The engine stands still in the draw for which there is no permit.
        await worker.until(lambda stats: stats.running_requests == 2 and gate.draws_begun == 6)
        victim.cancel()
        await worker.until(lambda stats: stats.cancelled_requests_total == 1)
        before = worker.app.engine.running
        gate.permit(1)
        await worker.until(lambda stats: stats.running_requests == 1)
        assert before == 2
        gate.open()


async def test_a_cancelled_neighbour_does_not_change_an_answer(reference):
    async with running_worker(StepGate().make_sampler, max_batch=4) as worker:
        victims = [worker.call(f"Victim {n}", **ENDLESS) for n in range(3)]
        kept = asyncio.ensure_future(worker.generate("The kill switch", max_tokens=60))
        for victim in victims:
            assert await next_event(victim) == "accepted"
            victim.cancel()
        assert (await kept).ids == reference.generate("The kill switch", 60)[0]


async def test_a_failing_sampler_ends_its_own_request_only(reference):
    class FailingSampler(RowSampler):
        def _draw(self, logprobs: mx.array) -> mx.array:
            raise ValueError("no draw")

    def make_sampler(options):
        return FailingSampler(options) if options.temperature == 2 else sampler_for(options)

    async with running_worker(make_sampler) as worker:
        good, bad = await asyncio.gather(
            worker.generate("The kill switch", max_tokens=30), refusal(worker.call("x", temperature=2))
        )
        assert good.ids == reference.generate("The kill switch", 30)[0]
        assert bad[0] is grpc.StatusCode.INTERNAL
        assert bad[1]["reason"] == "SAMPLING_FAILED"
        stats = await worker.until(lambda stats: stats.failed_requests_total == 1)
        assert stats.running_requests == 0
        assert "ValueError: no draw" in worker.log.getvalue()


async def test_a_sampler_that_cannot_be_made_ends_its_own_request_only():
    def make_sampler(options):
        if options.temperature == 2:
            raise ValueError("no sampler")
        return sampler_for(options)

    async with running_worker(make_sampler) as worker:
        code, metadata, _ = await refusal(worker.call("x", temperature=2))
        assert (code, metadata["reason"]) == (grpc.StatusCode.INTERNAL, "INTERNAL")
        assert (await worker.generate("x", max_tokens=3)).ids


class Unguarded:
    """Raises, as no sampler of the worker does."""

    fault = None

    def __call__(self, logprobs: mx.array) -> mx.array:
        raise RuntimeError("no draw")


async def test_a_sampler_that_raises_ends_its_own_request_only(reference):
    async with running_worker(lambda options: Unguarded() if options.temperature == 2 else GREEDY) as worker:
        good, bad = await asyncio.gather(
            worker.generate("The kill switch", max_tokens=30), refusal(worker.call("x", temperature=2))
        )
        assert good.ids == reference.generate("The kill switch", 30)[0]
        assert (bad[0], bad[1]["reason"]) == (grpc.StatusCode.INTERNAL, "SAMPLING_FAILED")


def break_network(worker) -> Callable[[], None]:
    """Makes every pass fail, as a lost device does. Returns what mends it."""
    (served,) = worker.app.engine.work.models
    whole = served.forward.last_logits

    def fail(tokens, caches):
        raise RuntimeError("device lost")

    served.forward.last_logits = fail
    return lambda: setattr(served.forward, "last_logits", whole)


async def test_the_engine_survives_a_failed_step():
    async with running_worker() as worker:
        mend = break_network(worker)
        code, metadata, _ = await refusal(worker.call("x"))
        assert (code, metadata["reason"]) == (grpc.StatusCode.INTERNAL, "STEP_FAILED")
        mend()
        assert (await worker.generate("x", max_tokens=3)).ids


async def test_the_engine_ends_when_steps_keep_failing():
    async with running_worker() as worker:
        break_network(worker)
        for _ in range(3):
            await refusal(worker.call("x"))
        fault = await worker.app.engine.stopped
        assert str(fault) == "device lost"
        assert worker.app.health.live()[0] == 503
        code, metadata, _ = await refusal(worker.call("x"))
        assert (code, metadata["reason"]) == (UNAVAILABLE, "ENGINE_STOPPED")


async def test_drain_waits_for_running_streams_and_refuses_new_ones():
    gate = StepGate()
    async with running_worker(gate.make_sampler) as worker:
        call = worker.call("A flag", max_tokens=5, temperature=1)
        assert await next_event(call) == "accepted"
        assert (await worker.stub.Drain(wpb.DrainRequest(timeout_ms=1))).remaining_streams == 1
        code, metadata, _ = await refusal(worker.call("x"))
        assert (code, metadata["reason"]) == (UNAVAILABLE, "DRAINING")
        draining = asyncio.ensure_future(worker.stub.Drain(wpb.DrainRequest()))
        assert (await worker.until(lambda stats: stats.draining)).draining
        gate.open()
        assert (await draining).remaining_streams == 0
        last = None
        while (message := await call.read()) is not grpc.aio.EOF:
            last = message
        assert last.WhichOneof("event") == "finished"


async def unread(worker, **sampling):
    """A stream of which only the first message is read before the engine has done all it can."""
    message = wpb.WorkerGenerateRequest(prompt="The kill switch", sampling=pb.SamplingOptions(**sampling))
    answers = worker.app.generation.generate(message)
    assert (await anext(answers)).WhichOneof("event") == "accepted"
    await worker.until(lambda stats: stats.running_requests == 0 and stats.queued_requests == 0)
    return answers


async def test_tokens_are_put_together_when_the_reader_lags(reference):
    ids, _, _ = reference.generate("The kill switch", 30)
    async with running_worker() as worker:
        answers = [message async for message in await unread(worker, max_tokens=30)]
        assert [token.id for token in answers[0].chunk.tokens] == ids
        assert [answer.WhichOneof("event") for answer in answers] == ["chunk", "finished"]


async def test_a_reader_that_leaves_too_much_unread_is_ended():
    async with running_worker(StepGate.opened().make_sampler, max_pending_tokens=16) as worker:
        answers = await unread(worker, **ENDLESS)
        assert len((await anext(answers)).chunk.tokens) == 16
        with pytest.raises(ServiceError, match="more than 16 tokens were left unread"):
            await anext(answers)
