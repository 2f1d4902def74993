"""Answers are those of mlx_lm.stream_generate, whatever runs beside them."""

from __future__ import annotations

import asyncio

import pytest

from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb

CHATS = [
    "Hello",
    "What is a kill switch?",
    "What is a canary?",
    "Tell me about: Rollback",
    "Count to ten.",
    "x",
    "Zeichen: äöü ß 漢字 😀🚀",
    "Explain the difference between a flag and a canary in many words, please. " * 12,
]
PROMPTS = [
    "The kill switch",
    "message ",
    "# ",
    "def main() -> None:\n",
    "漢",
    "\n\n\n",
    "rollout_percentage: ",
    "A canary is " * 60,
]
LENGTH = pb.FINISH_REASON_LENGTH
STOP = pb.FINISH_REASON_STOP


def expected(reference, case: tuple[str, str], max_tokens: int = 40):
    kind, text = case
    return reference.generate(reference.encode_chat(text) if kind == "chat" else text, max_tokens)


def ask(worker, case: tuple[str, str], max_tokens: int = 40):
    kind, text = case
    if kind == "chat":
        return worker.generate(chat=text, max_tokens=max_tokens)
    return worker.generate(text, max_tokens=max_tokens)


def answer_length(prompt_and_answer: tuple[str, str]) -> int:
    return len(prompt_and_answer[1])


CASES = [("chat", text) for text in CHATS] + [("prompt", text) for text in PROMPTS]


@pytest.mark.parametrize("case", CASES, ids=[text[:20] for _, text in CASES])
async def test_a_greedy_answer_alone_is_that_of_stream_generate(worker, reference, case):
    ids, text, reason = expected(reference, case)
    answer = await ask(worker, case)
    assert (answer.ids, answer.text) == (ids, text)
    assert answer.finished.finish_reason == (STOP if reason == "stop" else LENGTH)
    assert answer.finished.usage.completion_tokens == len(ids)


@pytest.mark.parametrize("size", [2, 8, 16])
async def test_greedy_answers_in_a_batch_are_those_of_stream_generate(worker, reference, size):
    lengths = [24 + 5 * (index % 7) for index in range(size)]
    cases = (CASES * 2)[:: 2 if size == 2 else 1][:size]
    wanted = [expected(reference, case, length)[:2] for case, length in zip(cases, lengths, strict=True)]
    answers = await asyncio.gather(
        *(ask(worker, case, length) for case, length in zip(cases, lengths, strict=True))
    )
    assert [(answer.ids, answer.text) for answer in answers] == wanted


async def test_the_two_requests_that_end_mlx_lm_server_are_answered(worker, reference):
    prompt = "The kill switch"
    first = await worker.generate(prompt, max_tokens=12)
    second = await worker.generate(prompt + first.text, max_tokens=12)
    again = await worker.generate(prompt, max_tokens=12)
    assert second.ids == reference.generate(prompt + first.text, 12)[0]
    assert again.ids == first.ids


async def test_a_seed_repeats_an_answer_beside_any_neighbours(worker):
    options = {"max_tokens": 24, "temperature": 1.2, "top_p": 0.9, "seed": 7}
    alone = await worker.generate("A flag", **options)
    neighbours = [worker.generate(f"Neighbour {n}", max_tokens=30, temperature=1.0, seed=n) for n in range(5)]
    together, *_ = await asyncio.gather(worker.generate("A flag", **options), *neighbours)
    assert together.ids == alone.ids


async def test_other_seeds_and_no_seed_draw_differently(worker):
    async def draw(**seed: int) -> tuple[int, ...]:
        return tuple((await worker.generate("A flag", max_tokens=24, temperature=1.5, **seed)).ids)

    drawn = await asyncio.gather(draw(seed=1), draw(seed=-1), draw(seed=2**63 - 1), draw(), draw())
    assert len(set(drawn)) == len(drawn)


async def test_temperature_zero_ignores_the_seed(worker, reference):
    answer = await worker.generate("A flag", max_tokens=16, temperature=0, seed=3)
    assert answer.ids == reference.generate("A flag", 16)[0]


async def test_a_stop_string_ends_the_answer_and_is_not_in_it(worker, reference):
    # Whatever the model has learnt, one of the prompts has an answer that is long enough to be cut.
    prompt, whole = max(
        ((prompt, reference.generate(prompt, 40)[1]) for prompt in PROMPTS), key=answer_length
    )
    stop = whole[len(whole) // 2 :][:4]
    answer = await worker.generate(prompt, max_tokens=40, stop=["never met", stop])
    assert answer.text == whole[: whole.find(stop)]
    assert answer.finished.finish_reason == STOP


async def test_a_stop_string_that_is_not_met_changes_nothing(worker, reference):
    ids, text, _ = reference.generate("The kill switch", 40)
    answer = await worker.generate("The kill switch", max_tokens=40, stop=[text[-3:] + "§"])
    assert (answer.ids, answer.text) == (ids, text)


async def test_max_tokens_of_one_gives_one_token(worker, reference):
    answer = await worker.generate("The kill switch", max_tokens=1)
    assert answer.ids == reference.generate("The kill switch", 1)[0]
    assert answer.finished.finish_reason == LENGTH


async def test_the_answer_ends_where_the_context_ends(worker, reference):
    length = worker.app.lifecycle.model.context_length
    per_word = len(reference.tokenizer.encode(" flag" * 100)) // 100
    words = " flag" * ((length - 12) // per_word)
    answer = await worker.generate(words, max_tokens=10_000)
    assert answer.accepted.prompt_tokens == len(reference.tokenizer.encode(words))
    assert len(answer.ids) <= length - answer.accepted.prompt_tokens


async def test_timings_and_usage_are_those_of_the_request(worker, reference):
    answer = await worker.generate(chat="Hello", max_tokens=5)
    timings = answer.finished.timings
    assert answer.accepted.prompt_tokens == len(reference.encode_chat("Hello"))
    assert answer.accepted.model == "tiny"
    assert min(timings.queue_ms, timings.tokenize_ms, timings.prefill_ms) >= 0
    assert timings.total_ms >= timings.queue_ms + timings.tokenize_ms + timings.prefill_ms


async def test_a_system_message_and_earlier_turns_are_rendered(worker, reference):
    turns = [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hello!"), ("user", "What is a flag?")]
    messages = [pb.ChatMessage(role=role, content=content) for role, content in turns]
    request = wpb.TokenizeRequest(conversation=pb.Conversation(messages=messages))
    answer = await worker.stub.Tokenize(request)
    rendered = "".join(f"<|{role}|>{content}<|end|>" for role, content in turns) + "<|assistant|>"
    assert list(answer.token_ids) == reference.tokenizer.encode(rendered)
