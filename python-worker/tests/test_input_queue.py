"""What waits to be read is bounded by requests and by bytes."""

from __future__ import annotations

import asyncio
import threading

import grpc
import pytest
from conftest import GATE_TIMEOUT_SECONDS, running_worker
from test_admission import refusal

from mlx_worker import tokenization
from mlx_worker.engine.constraint import Constraints
from mlx_worker.errors import ServiceError
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.input_queue import MOST_BYTES, InputQueue, Lane
from mlx_worker.model import LoadedModel

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


class GatedTokenizer:
    """Tokenises once it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = asyncio.Event()
        self.calls = 0
        self._loop = asyncio.get_running_loop()
        self.whole = tokenization.encode

    def encode(self, *arguments):
        self.calls += 1
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.gate.wait(GATE_TIMEOUT_SECONDS)
        return self.whole(*arguments)


@pytest.fixture
async def gated(monkeypatch):
    made = GatedTokenizer()
    monkeypatch.setattr(tokenization, "encode", made.encode)
    yield made
    made.gate.set()


async def inputs_wait(worker, count: int) -> None:
    await worker.until(lambda stats: worker.app.inputs.waiting == count)


async def make_room_behind(worker) -> None:
    """So that whoever is read finds a place in the queue, however slow the engine is to take them out."""
    await worker.stub.SetLimits(wpb.SetLimitsRequest(max_queue=100))


async def test_requests_that_wait_for_the_tokenizer_are_bounded_by_number(gated):
    async with running_worker(max_batch=1, max_queue=2) as worker:
        calls = [worker.call("A flag", max_tokens=2) for _ in range(3)]
        await inputs_wait(worker, 3)
        code, metadata, _ = await refusal(worker.call("A flag", max_tokens=2))
        assert (code, metadata["reason"]) == (EXHAUSTED, "QUEUE_FULL")
        assert int(metadata["retry-after-ms"]) >= 100
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await worker.stub.Tokenize(wpb.TokenizeRequest(prompt="A flag"))
        assert caught.value.code() is EXHAUSTED
        await make_room_behind(worker)
        gated.gate.set()
        for call in calls:
            assert [message.WhichOneof("event") async for message in call][-1] == "finished"
        assert (worker.app.inputs.waiting, worker.app.inputs.nbytes) == (0, 0)


async def test_requests_that_wait_for_the_tokenizer_are_bounded_by_bytes(gated):
    async with running_worker(max_queue=1000) as worker:
        gated.whole = lambda *arguments: [1]
        large = "A flag. " * (3 * 2**20 // 8)
        calls = [worker.call(large) for _ in range(MOST_BYTES // len(large))]
        await inputs_wait(worker, len(calls))
        code, metadata, _ = await refusal(worker.call(large))
        assert (code, metadata["reason"]) == (EXHAUSTED, "QUEUE_BYTES_FULL")
        assert int(metadata["retry-after-ms"]) >= 100
        for call in calls:
            call.cancel()
        await inputs_wait(worker, 0)


async def test_a_large_input_holds_nobody_up_and_has_the_same_tokens(monkeypatch, reference):
    large = "A kill switch turns a feature off at once. " * 2000
    begun, go_on, whole = threading.Event(), threading.Event(), tokenization.encode

    def gated_when_large(model, source, open_answer):
        if source == large:
            begun.set()
            assert go_on.wait(GATE_TIMEOUT_SECONDS)
        return whole(model, source, open_answer)

    monkeypatch.setattr(tokenization, "encode", gated_when_large)
    made = tokenization.Tokenization()
    model = LoadedModel("m", None, reference.tokenizer, 10**9, 0, frozenset(), 0)
    waiting = asyncio.ensure_future(made.encode(model, large))
    await asyncio.to_thread(begun.wait, GATE_TIMEOUT_SECONDS)
    assert await made.encode(model, "A flag") == reference.tokenizer.encode("A flag")
    assert not waiting.done()
    go_on.set()
    assert await waiting == reference.tokenizer.encode(large)
    made.close()


async def test_who_goes_away_leaves_nothing_before_the_tokenizer(gated):
    queue = InputQueue(lambda: 2)
    first = asyncio.ensure_future(queue.run(Lane.SMALL, 5, gated.encode))
    await gated.begun.wait()
    first.cancel()
    # The thread is still at the first one; a hundred come and go meanwhile, and none gets to the thread.
    for _ in range(100):
        other = asyncio.ensure_future(queue.run(Lane.SMALL, 5, gated.encode))
        await asyncio.sleep(0)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
    assert (gated.calls, queue.waiting, queue.nbytes) == (1, 0, 0)
    gated.gate.set()
    assert await queue.run(Lane.SMALL, 5, lambda: "next") == "next"
    assert gated.calls == 1
    queue.close()


async def test_one_input_alone_may_be_larger_than_the_bound():
    queue = InputQueue(lambda: 1, most_bytes=10)
    assert await queue.run(Lane.SMALL, 11, lambda: "done") == "done"
    with pytest.raises(ServiceError):
        await InputQueue(lambda: 0).run(Lane.SMALL, 1, lambda: "done")
    queue.close()


async def test_schemas_that_wait_are_counted_and_hold_up_no_prompt(monkeypatch):
    begun, go_on, whole = threading.Event(), threading.Event(), Constraints.for_schema

    def gated(*arguments):
        begun.set()
        assert go_on.wait(GATE_TIMEOUT_SECONDS)
        return whole(*arguments)

    monkeypatch.setattr(Constraints, "for_schema", gated)
    async with running_worker(max_batch=1, max_queue=2) as worker:
        schema = {"json_schema": '{"type": "boolean"}', "max_tokens": 20}
        calls = [worker.call("A flag", **schema) for _ in range(2)]
        await inputs_wait(worker, 2)
        await asyncio.to_thread(begun.wait, GATE_TIMEOUT_SECONDS)
        assert (await worker.generate("A flag", max_tokens=2)).ids
        calls.append(worker.call("A flag", **schema))
        await inputs_wait(worker, 3)
        code, metadata, _ = await refusal(worker.call("A flag", max_tokens=2))
        assert (code, metadata["reason"]) == (EXHAUSTED, "QUEUE_FULL")
        await make_room_behind(worker)
        go_on.set()
        for call in calls:
            assert [message.WhichOneof("event") async for message in call][-1] == "finished"
