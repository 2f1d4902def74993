"""The queue between the engine and a reader."""

from __future__ import annotations

import asyncio

from mlx_worker.engine.request import Completion, EndReason, GeneratedToken
from mlx_worker.engine.token_stream import TokenStream
from mlx_worker.errors import ServiceError

TOKENS = [GeneratedToken(n, str(n)) for n in range(5)]
DONE = Completion(EndReason.STOP, 5, 0.0, 0.0)


async def test_what_came_while_the_reader_was_busy_is_read_together():
    stream = TokenStream(limit=10)
    for token in TOKENS[:3]:
        stream.push([token])
    assert await stream.read() == TOKENS[:3]
    stream.push(TOKENS[3:])
    stream.close(DONE)
    assert await stream.read() == TOKENS[3:]
    assert await stream.read() == []
    assert stream.end is DONE


async def test_a_reader_waits_for_the_next_token():
    stream = TokenStream(limit=10)
    reading = asyncio.ensure_future(stream.read())
    asyncio.get_running_loop().call_soon(stream.push, TOKENS[:1])
    assert await reading == TOKENS[:1]


async def test_more_than_the_limit_is_refused_and_nothing_is_lost():
    stream = TokenStream(limit=3)
    assert stream.push(TOKENS[:3])
    assert not stream.push(TOKENS[3:4])
    assert await stream.read() == TOKENS[:3]
    assert stream.push(TOKENS[3:4])


async def test_the_first_end_counts():
    stream = TokenStream(limit=3)
    stream.close(DONE)
    stream.close(ServiceError("INTERNAL"))
    assert stream.end is DONE
