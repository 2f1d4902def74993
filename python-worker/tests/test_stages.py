"""The three stages: each gated by its flag, each changing the time of an answer and never the answer."""

from __future__ import annotations

import asyncio
import random

import grpc
from conftest import GATE_TIMEOUT_SECONDS, GATED, StepGate, collect, running_worker

from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb

WARM, SPECULATE, KV = (
    "ttft_pipeline.warmup_queue",
    "ttft_pipeline.speculation",
    "ttft_pipeline.kv_prep",
)
ALL = [WARM, SPECULATE, KV]
HINT = wpb.TtftHint(allow_speculation=True)
SYSTEM = "A kill switch turns a feature off at once, for everybody. " * 8


def flags(*names: str, **fields) -> dict:
    return {"enabled_flags": list(names), **fields}


async def read_rest(call, tokens: list[int]):
    """Adds the tokens of what is left of a stream, and returns its last message."""
    last = None
    while (message := await call.read()) is not grpc.aio.EOF:
        tokens += [token.id for token in message.chunk.tokens]
        last = message
    return last


def cached(answer) -> int:
    return answer.finished.usage.cached_prompt_tokens


def events(answer) -> list[str]:
    return [stage.name for stage in answer.finished.stages]


async def test_a_shared_beginning_is_computed_once(reference):
    async with running_worker() as worker:
        for tail in ("flag", "canary", "rollout of a flag", "flag"):
            prompt = SYSTEM + tail
            answer = await worker.generate(prompt, max_tokens=20, request=flags(KV))
            assert answer.ids == reference.generate(prompt, 20)[0]
        assert cached(answer) == answer.accepted.prompt_tokens - 1
        stats = await worker.until(lambda stats: stats.prefix_cache.hits == 3)
        assert stats.prefix_cache.misses == 1
        assert stats.prefix_cache.reused_tokens > 2 * 100
        assert 0 < stats.prefix_cache.bytes <= worker.app.config.prefix_cache_bytes


async def test_the_finished_turn_is_the_beginning_of_the_next(reference):
    async with running_worker() as worker:
        first = await worker.generate("The kill switch", max_tokens=24, request=flags(KV))
        prompt = "The kill switch" + first.text
        second = await worker.generate(prompt, max_tokens=12, request=flags(KV))
        assert second.ids == reference.generate(prompt, 12)[0]
        assert cached(second) == second.accepted.prompt_tokens - 1 > first.accepted.prompt_tokens


async def test_an_exact_repeat_of_an_allowed_prompt_is_drawn_from_its_kept_position(reference):
    async with running_worker() as worker:
        wanted = reference.generate("The kill switch", 16)[0]
        for expected in ("speculation:miss", "speculation:hit", "speculation:hit"):
            answer = await worker.generate(
                "The kill switch", max_tokens=16, request=flags(SPECULATE, ttft_hint=HINT)
            )
            assert answer.ids == wanted
            assert expected in events(answer)
        assert cached(answer) == answer.accepted.prompt_tokens
        stats = await worker.until(lambda stats: stats.speculation.hits == 2)
        assert (stats.speculation.misses, stats.speculation.allowlisted) == (1, 1)


async def test_a_repeat_that_is_not_allowed_computes_its_last_token(reference):
    async with running_worker() as worker:
        for _ in range(3):
            answer = await worker.generate("The kill switch", max_tokens=16, request=flags(*ALL))
        assert answer.ids == reference.generate("The kill switch", 16)[0]
        assert cached(answer) == answer.accepted.prompt_tokens - 1
        assert "stage:speculated" not in events(answer)


async def test_a_sampled_repeat_draws_what_its_seed_draws_without_the_cache():
    options = {"max_tokens": 16, "temperature": 1.1, "top_p": 0.9, "seed": 11, "repetition_penalty": 1.3}
    async with running_worker() as worker:
        cold = await worker.generate("A flag", **options)
        for _ in range(3):
            hit = await worker.generate("A flag", **options, request=flags(*ALL, ttft_hint=HINT))
            assert hit.ids == cold.ids
        assert "speculation:hit" in events(hit)


async def test_without_its_flag_a_stage_does_nothing(reference):
    async with running_worker() as worker:
        await worker.generate("The kill switch", max_tokens=8, request=flags(*ALL, ttft_hint=HINT))
        answer = await worker.generate("The kill switch", max_tokens=8, request=flags(WARM))
        assert cached(answer) == 0
        assert events(answer) == ["stage:queued", "stage:firstToken"]


async def while_steps(gate: StepGate, answer):
    """What comes while gated requests go on, step by step, however many steps it takes."""
    coming = asyncio.ensure_future(answer)
    while not coming.done():
        gate.permit(1)
        await asyncio.wait({coming}, timeout=0.05)
    return coming.result()


async def test_a_warmed_request_has_its_first_token_before_it_has_a_place(tmp_path, reference):
    path = tmp_path / "runtime.yaml"
    path.write_text("ttft_accelerator: {warm_queue: {ttl_ms: 3600000}}")
    gate = StepGate()
    async with running_worker(gate.make_sampler, max_batch=1, runtime_config=str(path)) as worker:
        running = worker.call("A flag", **GATED)
        assert (await running.read()).WhichOneof("event") == "accepted"
        gate.permit(2)
        await worker.until(lambda stats: stats.running_requests == 1)
        warmed = worker.call("The kill switch", max_tokens=16, request=flags(WARM))
        cold = worker.call("The kill switch", max_tokens=16)
        assert (await warmed.read()).WhichOneof("event") == "accepted"
        assert (await cold.read()).WhichOneof("event") == "accepted"
        first = await while_steps(gate, warmed.read())
        assert len(first.chunk.tokens) == 1
        stats = await worker.until(lambda stats: stats.warm_queue.warmed == 1)
        assert (stats.warm_queue.size, stats.queued_requests, stats.running_requests) == (1, 2, 1)
        running.cancel()
        gate.open()
        wanted = reference.generate("The kill switch", 16)[0]
        for call, tokens in ((cold, []), (warmed, [first.chunk.tokens[0].id])):
            last = await read_rest(call, tokens)
            assert tokens == wanted
        assert "stage:warmed" in [stage.name for stage in last.finished.stages]


async def test_a_full_warm_queue_lets_requests_go_on_cold(tmp_path):
    path = tmp_path / "runtime.yaml"
    path.write_text("ttft_accelerator: {warm_queue: {max_size: 1, ttl_ms: 3600000}}")
    gate = StepGate()
    async with running_worker(gate.make_sampler, max_batch=1, runtime_config=str(path)) as worker:
        running = worker.call("A flag", **GATED)
        assert (await running.read()).WhichOneof("event") == "accepted"
        await worker.until(lambda stats: stats.running_requests == 1)
        calls = [worker.call("The kill switch", max_tokens=4, request=flags(WARM)) for _ in range(3)]
        for call in calls:
            assert (await call.read()).WhichOneof("event") == "accepted"
        gate.permit(8)
        stats = await worker.until(lambda stats: stats.warm_queue.warmed == 1)
        # Two requests, however many steps they wait.
        assert stats.warm_queue.overflowed == 2
        running.cancel()
        gate.open()
        for call in calls:
            assert (await read_rest(call, [])).WhichOneof("event") == "finished"


async def test_tenants_see_nothing_of_each_other(reference):
    async with running_worker() as worker:
        for tenant, known in (("a", False), ("b", False), ("a", True), ("", False), ("c", True)):
            answer = await worker.generate(
                SYSTEM, max_tokens=8, request=flags(*ALL, tenant=tenant, ttft_hint=HINT)
            )
            assert (cached(answer) > 0) is known, tenant
            assert answer.ids == reference.generate(SYSTEM, 8)[0]


async def test_random_interleavings_give_each_request_the_answer_it_has_alone(request, reference):
    """Shared beginnings, repeats, announcements, cancels, tenants, and a budget that evicts."""
    rounds = 100 if request.config.getoption("--full") else 6
    draw = random.Random(7)
    stems = [SYSTEM, SYSTEM[:100], "The kill switch", "A canary is ", "message ", ""]
    prompts = [draw.choice(stems) + draw.choice(["flag", "canary", "x", "# ", "the"]) for _ in range(24)]
    wanted = {prompt: reference.generate(prompt, 12)[0] for prompt in prompts}
    settings = {"prefill_chunk": 16, "max_batch": 4, "max_queue": 1000, "prefix_cache_bytes": 600_000}
    async with running_worker(**settings) as worker:

        async def one(number: int) -> None:
            for _ in range(number % 5):
                await asyncio.sleep(0)
            prompt = draw.choice(prompts)
            names = draw.sample(ALL, draw.randint(0, 3))
            fields = flags(*names, tenant=draw.choice(["", "a", "b"]))
            message = wpb.WorkerGenerateRequest(
                request_id=f"{draw.randint(0, 20)}", prompt=prompt, ttft_hint=HINT, **fields
            )
            message.sampling.max_tokens = draw.randint(1, 12)
            if draw.random() < 0.5:
                # Sometimes under another request's name, or for another prompt or tenant than what comes.
                announced = draw.choice(prompts) if draw.random() < 0.2 else prompt
                asked = wpb.PrepareRequest(request_id=message.request_id, prompt=announced, **fields)
                await worker.stub.Prepare(asked)
            call = worker.stub.Generate(message)
            if draw.random() < 0.15:
                await call.read()
                call.cancel()
                return
            answer = await collect(call)
            assert answer.ids == wanted[prompt][: len(answer.ids)]

        for _ in range(rounds):
            await asyncio.gather(*(one(number) for number in range(50)))
        assert (await worker.until(lambda stats: stats.warm_queue.size == 0)).warm_queue.prepared > 0
        stats = await worker.until(lambda stats: stats.running_requests == stats.queued_requests == 0)
        assert stats.failed_requests_total == 0
        assert stats.prefix_cache.evictions > 0
        assert stats.prefix_cache.hits > 50
        work = worker.app.engine.work
        assert (work.decoding, work.warm, len(work.placed)) == (0, 0, 0)


async def test_requests_that_all_leave_at_once_leave_nothing(request):
    count = 10_000 if request.config.getoption("--full") else 300
    async with running_worker(max_queue=1000, prefill_chunk=16, prefix_cache_bytes=0) as worker:
        await worker.generate("A flag", max_tokens=2)
        draw = random.Random(3)

        async def leave(number: int) -> None:
            call = worker.call(SYSTEM[number % 50 :], max_tokens=50, request=flags(*ALL))
            for _ in range(draw.randint(0, 3)):
                await call.read()
            call.cancel()

        before = None
        for start in range(0, count, 100):
            await asyncio.gather(*(leave(start + number) for number in range(100)))
            await worker.until(lambda stats: stats.running_requests == stats.queued_requests == 0)
            if before is None:
                # What is computed in idle time holds memory only while it is computed.
                while await worker.app.engine.call(lambda: len(worker.app.engine.work.idle)):
                    pass
                before = await worker.app.engine.call(active_memory)
        work = worker.app.engine.work
        await asyncio.wait_for(memory_comes_down_to(worker, before), GATE_TIMEOUT_SECONDS)
        assert (work.decoding, work.warm, len(work.placed), len(work.begun)) == (0, 0, 0, 0)
        assert (worker.app.engine.queued, worker.app.engine.queued_tokens) == (0, 0)
        assert (await worker.generate("A flag", max_tokens=2)).ids


async def memory_comes_down_to(worker, most: int) -> None:
    """Waits for what is still on its way, and for what is computed in idle time."""
    while await worker.app.engine.call(active_memory) > most:
        pass


def active_memory() -> int:
    import gc

    import mlx.core as mx

    gc.collect()
    mx.clear_cache()
    return int(mx.get_active_memory())


async def test_two_hundred_prompts_have_the_answers_of_stream_generate_through_every_path(reference):
    """Cold, with shared beginnings, repeated from the kept position, and continued from the finished turn."""
    topics = [
        "flag",
        "canary",
        "rollout",
        "gateway",
        "worker",
        "token",
        "policy",
        "segment",
        "queue",
        "switch",
    ]
    stems = ["The {} ", "# {}\n", "A {} is ", SYSTEM + "{}", "What is a {}? ", "const {} = "]
    ends = ["", "1", "is", " and"]
    prompts = [stem.format(topic) + end for topic in topics for stem in stems for end in ends][:200]
    wanted = {prompt: reference.generate(prompt, 10)[:2] for prompt in prompts}
    async with running_worker(max_queue=1000) as worker:
        for names in ([], [KV], ALL, ALL, [WARM]):
            answers = await asyncio.gather(
                *(
                    worker.generate(prompt, max_tokens=10, request=flags(*names, ttft_hint=HINT))
                    for prompt in prompts
                )
            )
            assert [(answer.ids, answer.text) for answer in answers] == [wanted[prompt] for prompt in prompts]
        assert sum("speculation:hit" in events(answer) for answer in answers) == 0
        stats = await worker.until(lambda stats: True)
        assert stats.speculation.hits >= len(prompts)
        assert stats.prefix_cache.hits > len(prompts)
