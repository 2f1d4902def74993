"""Memory stays under its limit by refusing, waiting and giving up what was kept."""

from __future__ import annotations

import asyncio
import threading

from conftest import GATE_TIMEOUT_SECONDS, GATED, StepGate, running_worker
from test_limits import KV, LONG, set_limits
from test_stages import read_rest

from mlx_worker.engine import decode
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb


async def test_who_has_memory_decodes_at_once_while_others_wait_for_it(monkeypatch, reference):
    # A burst of callers may be waited for this long; who waits for memory cannot come in at all.
    monkeypatch.setattr(decode, "MOST_GAPS_BEFORE_DECODE", 10**9)
    async with running_worker() as worker:
        (served,) = worker.app.engine.work.models
        room = served.bytes_per_token * 2 * (22 + 256)
        await set_limits(worker, memory_limit_bytes=served.model.weight_bytes + room)
        answers = await asyncio.gather(*(worker.generate("A flag", max_tokens=20) for _ in range(6)))
        wanted = reference.generate("A flag", 20)[0]
        assert [answer.ids for answer in answers] == [wanted] * 6


async def test_memory_stays_under_its_limit_whatever_comes(reference):
    async with running_worker(max_batch=8, max_queue=1000) as worker:
        (served,) = worker.app.engine.work.models
        limit = served.model.weight_bytes + served.bytes_per_token * 1500
        await set_limits(worker, memory_limit_bytes=limit)
        held: list[int] = []
        work = worker.app.engine.work

        def look() -> None:
            held.append(
                served.model.weight_bytes
                + work.committed_bytes
                + work.prefixes.nbytes
                + work.warm_queue.nbytes
            )

        async def one(number: int) -> None:
            prompt = f"{number} {LONG}"[: 40 + 20 * (number % 12)]
            answer = await worker.generate(prompt, max_tokens=8, request=KV)
            assert answer.ids == reference.generate(prompt, 8)[0]
            await worker.app.engine.call(look)

        await asyncio.gather(*(one(number) for number in range(40)))
        assert max(held) <= limit


async def test_short_rows_beside_a_long_one_are_counted_as_long_as_they_are_held(reference):
    long = LONG * 10
    async with running_worker(prefill_chunk=2048) as worker:
        (served,) = worker.app.engine.work.models
        length = len(reference.tokenizer.encode(long))
        limit = served.model.weight_bytes + served.bytes_per_token * 3 * (length + 300)
        await set_limits(worker, memory_limit_bytes=limit)
        work, held, rows = worker.app.engine.work, [], []
        whole = work.send

        def send(results) -> None:
            held.append(served.model.weight_bytes + served.batch.nbytes + work.prefixes.nbytes)
            rows.append(len(served.batch))
            whole(results)

        work.send = send
        prompts = [long, *(f"{number} A flag" for number in range(9))]
        all_wait = threading.Event()
        standing = asyncio.ensure_future(worker.app.engine.call(lambda: all_wait.wait(GATE_TIMEOUT_SECONDS)))
        asked = [asyncio.ensure_future(worker.generate(prompt, max_tokens=12)) for prompt in prompts]
        await worker.until(lambda stats: stats.queued_requests == len(prompts))
        all_wait.set()
        assert await standing
        answers = await asyncio.gather(*asked)
        for prompt, answer in zip(prompts, answers, strict=True):
            assert answer.ids == reference.generate(prompt, 12)[0]
        assert max(held) <= limit
        # By themselves the short ones run together: only the long one makes them long.
        assert max(rows) > 3


async def test_who_waits_for_memory_comes_after_those_who_were_warmed_and_have_it(tmp_path, reference):
    path = tmp_path / "runtime.yaml"
    path.write_text("ttft_accelerator: {warm_queue: {ttl_ms: 3600000}}")
    gate, warmed = StepGate(), {"enabled_flags": ["ttft_pipeline.warmup_queue"]}
    async with running_worker(gate.make_sampler, max_batch=1, runtime_config=str(path)) as worker:
        (served,) = worker.app.engine.work.models
        running = worker.call("A flag", **(GATED | {"max_tokens": 20}))
        assert (await running.read()).WhichOneof("event") == "accepted"
        gate.permit(2)
        await worker.until(lambda stats: stats.running_requests == 1)
        short = [worker.call("A flag", max_tokens=4, request=warmed) for _ in range(3)]
        for call in short:
            assert (await call.read()).WhichOneof("event") == "accepted"
        gate.permit(4)
        await worker.until(lambda stats: stats.warm_queue.warmed == 3)
        # A long one that goes before them, and fits by itself alone.
        need = len(reference.tokenizer.encode(LONG)) + 4 + 256
        limiting = asyncio.ensure_future(
            set_limits(worker, memory_limit_bytes=served.model.weight_bytes + served.bytes_per_token * need)
        )
        urgent = {"priority": wpb.PRIORITY_INTERACTIVE}
        long = worker.call(LONG, max_tokens=4, request=urgent)
        assert (await long.read()).WhichOneof("event") == "accepted"
        gate.open()
        await limiting
        running.cancel()
        for call, prompt in [*((each, "A flag") for each in short), (long, LONG)]:
            tokens: list[int] = []
            await asyncio.wait_for(read_rest(call, tokens), GATE_TIMEOUT_SECONDS)
            assert tokens == reference.generate(prompt, 4)[0]


async def test_what_is_kept_is_not_given_up_for_a_request_that_must_wait_all_the_same():
    gate = StepGate()
    async with running_worker(gate.make_sampler, max_batch=2) as worker:
        (served,) = worker.app.engine.work.models
        await worker.generate(LONG, max_tokens=2, request=KV)
        kept = (await worker.until(lambda stats: stats.prefix_cache.entries > 0)).prefix_cache
        # Room for one answer of a thousand tokens beside what is kept, not for two.
        need = served.bytes_per_token * (1000 + 300) + kept.bytes
        await set_limits(worker, memory_limit_bytes=served.model.weight_bytes + need)
        running = worker.call("A flag", **GATED)
        assert (await running.read()).WhichOneof("event") == "accepted"
        waiting = worker.call("A flag", max_tokens=1000)
        assert (await waiting.read()).WhichOneof("event") == "accepted"
        gate.permit(8)
        read = 0
        while read < 4:
            read += len((await running.read()).chunk.tokens)
        stats = await worker.until(lambda stats: (stats.running_requests, stats.queued_requests) == (1, 1))
        assert (stats.prefix_cache.entries, stats.prefix_cache.bytes) == (kept.entries, kept.bytes)
        waiting.cancel()
        running.cancel()
        gate.open()


async def test_an_answer_counts_as_long_as_the_context_lets_it_become():
    async with running_worker() as worker:
        (served,) = worker.app.engine.work.models
        room = served.bytes_per_token * (served.model.context_length + 256)
        await set_limits(worker, memory_limit_bytes=served.model.weight_bytes + room)
        call = worker.call("A flag", max_tokens=100_000)
        assert (await call.read()).WhichOneof("event") == "accepted"
        assert (await call.read()).WhichOneof("event") == "chunk"
        call.cancel()


async def test_a_preparation_counts_and_gives_way_to_a_request(reference):
    async with running_worker() as worker:
        (served,) = worker.app.engine.work.models
        engine, work, weights = worker.app.engine, worker.app.engine.work, served.model.weight_bytes
        await worker.generate(LONG * 4, max_tokens=2, request=KV)
        kept, room = work.prefixes.nbytes, served.bytes_per_token * 400
        await set_limits(worker, memory_limit_bytes=weights + room)
        tokens = reference.tokenizer.encode("y " + LONG)
        whole, held = work.idle.slice, []
        begun, arrived = threading.Event(), threading.Event()

        def one_token(most: int) -> None:
            held.append(work.idle.nbytes + work.prefixes.nbytes)
            if len(held) == 2:
                # A request comes that needs what the preparation holds.
                begun.set()
                assert arrived.wait(GATE_TIMEOUT_SECONDS)
            whole(1)

        work.idle.slice = one_token
        preparing = asyncio.ensure_future(
            engine.prepare("tiny", "", tokens, pin=False, allow_speculation=False)
        )
        await asyncio.to_thread(begun.wait, GATE_TIMEOUT_SECONDS)
        call = worker.call(LONG + "x", max_tokens=20)
        assert (await call.read()).WhichOneof("event") == "accepted"
        begun_again, answer = [], []
        begin = work.idle.begin_anew
        work.idle.begin_anew = lambda: begun_again.append(True) or begin()
        arrived.set()
        await read_rest(call, answer)
        assert answer == reference.generate(LONG + "x", 20)[0]
        assert (await preparing).prepared
        assert begun_again
        # What was kept had to make room for it.
        assert kept + len(tokens) * served.bytes_per_token > room >= max(held[1:])


async def test_a_preparation_for_which_there_is_no_room_is_not_begun(reference):
    async with running_worker() as worker:
        (served,) = worker.app.engine.work.models
        room = served.bytes_per_token * 400
        await set_limits(worker, memory_limit_bytes=served.model.weight_bytes + room)
        tokens = reference.tokenizer.encode(LONG * 5)
        preparing = worker.app.engine.prepare("tiny", "", tokens, pin=False, allow_speculation=False)
        assert not (await asyncio.wait_for(preparing, GATE_TIMEOUT_SECONDS)).prepared
