"""Prompts that are computed in the passes of the streams that run, and passes that wait for who has come."""

from __future__ import annotations

import asyncio
import sys

import grpc
import mlx.core as mx
import pytest
from conftest import GATED, StepGate, running_worker
from test_admission import next_event, refusal

from mlx_worker.engine import decode_batch
from mlx_worker.engine.decode_batch import DecodeBatch
from mlx_worker.engine.draw import Draw
from mlx_worker.engine.row import Row
from mlx_worker.sampling import GREEDY, SamplingOptions

LONG = "A kill switch turns a feature off at once, for everybody. " * 12
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only layers for Linux CPUs share passes")


def watch_shared(worker) -> list[int]:
    """How many prompt tokens each shared pass computes from now on."""
    (served,) = worker.app.engine.work.models
    whole, seen = served.forward.shared, []

    def shared(piece, *arguments):
        seen.append(len(piece))
        return whole(piece, *arguments)

    served.forward.shared = shared
    return seen


@linux_only
@pytest.mark.parametrize("chunk", [16, 40])
async def test_a_long_prompt_goes_along_with_running_streams_and_all_answers_are_their_own(reference, chunk):
    prompts = ["The kill switch", "A canary is ", "# ", f"0 {LONG}", f"1 {LONG}"]
    gate = StepGate()
    async with running_worker(gate.make_sampler, prefill_chunk=chunk) as worker:
        seen = watch_shared(worker)
        running = worker.call("A flag", **GATED)
        assert await next_event(running) == "accepted"
        gate.permit(3)
        # The engine stands still in a draw, so all of them find a stream that runs.
        await worker.until(lambda stats: gate.draws_begun == 4)
        calls = [asyncio.ensure_future(worker.generate(prompt, max_tokens=40)) for prompt in prompts]
        await worker.until(lambda stats: stats.queued_requests == len(prompts))
        gate.open()
        for prompt, answer in zip(prompts, await asyncio.gather(*calls), strict=True):
            assert answer.ids == reference.generate(prompt, 40)[0]
        running.cancel()
        assert seen
        assert 1 < max(seen) <= chunk


@linux_only
async def test_a_fault_in_a_shared_pass_ends_the_requests_of_that_pass():
    gate = StepGate()
    async with running_worker(gate.make_sampler, prefill_chunk=16) as worker:
        (served,) = worker.app.engine.work.models
        whole = served.forward.shared
        running = asyncio.ensure_future(refusal(worker.call("A flag", **GATED)))
        gate.permit(3)
        # The engine stands still in a draw, so the long prompt finds a stream that runs.
        await worker.until(lambda stats: gate.draws_begun == 4)
        served.forward.shared = lambda *arguments: 1 / 0
        late = asyncio.ensure_future(refusal(worker.call(LONG, max_tokens=2)))
        await worker.until(lambda stats: stats.queued_requests == 1)
        gate.open()
        for ended in (running, late):
            code, metadata, _ = await ended
            assert (code, metadata["reason"]) == (grpc.StatusCode.INTERNAL, "STEP_FAILED")
        served.forward.shared = whole
        assert (await worker.generate(LONG, max_tokens=2)).ids
        work = worker.app.engine.work
        # An answer may be read before the engine has forgotten its request.
        await worker.until(lambda stats: (work.decoding, len(work.begun), len(work.placed)) == (0, 0, 0))


class Text:
    """Says nothing and never ends."""

    stopped, tool_calls = False, ()

    def add(self, token: int) -> str:
        return ""

    add_last = add


class Asked:
    """A request of which only what a row looks at is there."""

    resume: tuple[int, ...] = ()
    first_drawn_at = 0.0

    def note(self, name: str) -> None:
        """No events."""


def row_after(served, prompt: list[int]) -> Row:
    caches = served.new_caches()
    token = int(mx.argmax(served.forward.last_logits(prompt, caches)).item())
    draw = Draw(SamplingOptions(), GREEDY, None)
    row = Row(Asked(), Text(), draw, 1000, frozenset(), [*prompt, token])
    row.caches = caches
    return row


async def test_a_pass_begins_by_itself_unless_somebody_has_come(worker, monkeypatch):
    started: list[int] = []
    start = decode_batch.start
    monkeypatch.setattr(decode_batch, "start", lambda arrays: (started.append(len(arrays)), start(arrays)))
    (served,) = worker.app.engine.work.models

    def tokens(waits: list[bool]) -> list[int]:
        batch = DecodeBatch(served.forward)
        row = row_after(served, [5, 6, 7])
        batch.join([row])
        started.clear()
        for wait in waits:
            batch.step(None, lambda wait=wait: wait)
        return row.tokens

    plain = await worker.app.engine.call(lambda: tokens([False] * 12))
    assert len(started) == 12
    waited = await worker.app.engine.call(lambda: tokens([True, False, True] * 4))
    assert len(started) == 4
    assert waited == plain
