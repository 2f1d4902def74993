"""A real worker on free ports in this process, and mlx_lm itself as the reference."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import mlx.core as mx
import mlx_lm
import pytest
import pytest_asyncio

from mlx_worker.app import App
from mlx_worker.blas import ensure_blas, is_preloaded
from mlx_worker.config import WorkerConfig
from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2_grpc as wgrpc
from mlx_worker.logs import Logger
from mlx_worker.model import PACKAGED_MODELS
from mlx_worker.sampling import GREEDY, sampler_for

# Far more than a loaded machine needs: it only ends what would wait for ever.
GATE_TIMEOUT_SECONDS = 180
CONSTANT_TOKEN = 500


@dataclass
class Answer:
    """A whole stream, put together."""

    accepted: wpb.GenerationAccepted
    tokens: list[pb.Token]
    chunks: int
    finished: wpb.GenerationFinished

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)


class Worker:
    """A running App and a client of it."""

    def __init__(self, app: App, log: io.StringIO, channel: grpc.aio.Channel) -> None:
        self.app = app
        self.log = log
        self.channel = channel
        self.stub = wgrpc.WorkerStub(channel)

    def call(
        self,
        prompt: str | None = "The kill switch",
        *,
        chat: str | None = None,
        model: str = "",
        request: dict | None = None,
        **sampling,
    ):
        conversation = None
        if chat is not None:
            prompt, conversation = None, pb.Conversation(messages=[pb.ChatMessage(role="user", content=chat)])
        message = wpb.WorkerGenerateRequest(
            request_id="test",
            model=model,
            prompt=prompt,
            conversation=conversation,
            sampling=pb.SamplingOptions(**sampling),
            **(request or {}),
        )
        return self.stub.Generate(message)

    async def generate(self, *arguments, **options) -> Answer:
        return await collect(self.call(*arguments, **options))

    async def until(self, holds: Callable[[wpb.StatsResponse], bool]) -> wpb.StatsResponse:
        """The first statistics for which `holds` is true."""
        stream = self.stub.Stats(wpb.StatsRequest(interval_ms=100), timeout=GATE_TIMEOUT_SECONDS)
        async for stats in stream:
            if holds(stats):
                stream.cancel()
                return stats
        raise AssertionError("the worker ended its statistics")


GATED, ENDLESS = {"temperature": 1, "max_tokens": 1000}, {"temperature": 2, "max_tokens": 1000}


class StepGate:
    """Sampled requests draw one token without end; with temperature 1 they wait for a permit for each."""

    def __init__(self) -> None:
        self._permits = threading.Semaphore(0)
        self.draws_begun = 0
        self._open = False

    @classmethod
    def opened(cls) -> StepGate:
        gate = cls()
        gate.open()
        return gate

    def permit(self, steps: int) -> None:
        for _ in range(steps):
            self._permits.release()

    def open(self) -> None:
        self._open = True
        self.permit(1000)

    def make_sampler(self, options):
        gate = self

        class ConstantSampler:
            fault = None

            def __call__(self, logprobs: mx.array) -> mx.array:
                if options.temperature == 1:
                    gate.draws_begun += 1
                    assert gate._open or gate._permits.acquire(timeout=GATE_TIMEOUT_SECONDS)
                return mx.array([CONSTANT_TOKEN])

        return ConstantSampler() if options.temperature > 0 else GREEDY


async def collect(call) -> Answer:
    """Reads a stream to its end and checks its order."""
    messages = [message async for message in call]
    kinds = [message.WhichOneof("event") for message in messages]
    assert kinds == ["accepted"] + ["chunk"] * (len(kinds) - 2) + ["finished"]
    tokens = [token for message in messages[1:-1] for token in message.chunk.tokens]
    return Answer(messages[0].accepted, tokens, len(kinds) - 2, messages[-1].finished)


@asynccontextmanager
async def running_worker(make_sampler=sampler_for, **settings) -> AsyncIterator[Worker]:
    log = io.StringIO()
    # A step that waits for a permit is not stuck; the watchdog would end the tests' own process.
    settings.setdefault("stuck_after_ms", 2 * GATE_TIMEOUT_SECONDS * 1000)
    config = WorkerConfig(port=0, metrics_port=0, worker_id="test-worker", **settings)
    app = App(config, Logger("debug", log), make_sampler)
    await app.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{app.server.port}") as channel:
            yield Worker(app, log, channel)
    finally:
        await app.stop(0)


def pytest_configure(config):
    """Runs the tests on the BLAS on which the worker runs."""
    if sys.platform == "linux" and not is_preloaded(os.environ):
        capture = config.pluginmanager.getplugin("capturemanager")
        capture.suspend_global_capture(in_=True)
        ensure_blas()
        capture.resume_global_capture()


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="run the long counts in full, such as 10,000 aborts")


@pytest_asyncio.fixture(scope="session")
async def worker() -> AsyncIterator[Worker]:
    async with running_worker() as running:
        yield running


@dataclass
class Reference:
    """mlx_lm alone, with the weights in float32 as the worker has them."""

    network: object
    tokenizer: object

    def encode_chat(self, content: str) -> list[int]:
        return self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )

    def generate(self, prompt: str | list[int], max_tokens: int) -> tuple[list[int], str, str]:
        """Token ids, text and finish reason of mlx_lm.stream_generate."""
        steps = list(mlx_lm.stream_generate(self.network, self.tokenizer, prompt, max_tokens=max_tokens))
        return [step.token for step in steps], "".join(step.text for step in steps), steps[-1].finish_reason


@pytest.fixture(scope="session")
def reference() -> Reference:
    network, tokenizer = mlx_lm.load(str(PACKAGED_MODELS / "tiny"))
    network.set_dtype(mx.float32)
    return Reference(network, tokenizer)
