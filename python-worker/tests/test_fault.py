"""Faults on purpose: what each does, and that there are none unless they are asked for."""

import asyncio
import io
import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from mlx_worker.errors import ServiceError
from mlx_worker.fault import VARIABLE, Faults, faults_of
from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.logs import Logger


@pytest.fixture
def logger() -> Logger:
    return Logger("error", io.StringIO())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "faults.json"


def write(file: Path, faults: dict[str, object]) -> None:
    file.write_text(json.dumps({"w": faults}))
    os.utime(file, (0, os.stat(file).st_ino + len(file.read_text())))


async def answers() -> AsyncGenerator[wpb.WorkerGenerateResponse]:
    chunk = wpb.TokenChunk(tokens=[pb.Token(id=5, text="hello"), pb.Token(id=6, text=" you")])
    yield wpb.WorkerGenerateResponse(accepted=wpb.GenerationAccepted())
    yield wpb.WorkerGenerateResponse(chunk=chunk)
    yield wpb.WorkerGenerateResponse(finished=wpb.GenerationFinished())


def run(faults: Faults) -> list[wpb.WorkerGenerateResponse]:
    async def collect() -> list[wpb.WorkerGenerateResponse]:
        return [answer async for answer in faults.applied(answers())]

    return asyncio.run(collect())


def test_there_are_none_unless_they_are_asked_for(monkeypatch: pytest.MonkeyPatch, logger: Logger) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert faults_of("w", logger) is None


def test_without_a_word_about_this_worker_the_answers_stay(file: Path, logger: Logger) -> None:
    file.write_text(json.dumps({"other": {"empty": True}}))
    assert [token.id for token in run(Faults(str(file), "w", logger))[1].chunk.tokens] == [5, 6]


def test_a_share_of_the_requests_fails(file: Path, logger: Logger) -> None:
    write(file, {"fail": 0.5})
    faults = Faults(str(file), "w", logger)
    failed = 0
    for _ in range(10):
        try:
            run(faults)
        except ServiceError:
            failed += 1
    assert failed == 5


def test_every_token_is_the_same_or_none_comes(file: Path, logger: Logger) -> None:
    write(file, {"loop": True})
    faults = Faults(str(file), "w", logger)
    assert {token.id for token in run(faults)[1].chunk.tokens} == {1}
    write(file, {"empty": True, "slow_ms": 1, "leak_mb": 0.1})
    assert [answer.WhichOneof("event") for answer in run(faults)] == ["accepted", "finished"]


def test_the_engine_stands_still_when_it_shall(file: Path, logger: Logger) -> None:
    write(file, {"hang": True})
    hung: list[bool] = []
    run(Faults(str(file), "w", logger, lambda: hung.append(True)))
    assert hung == [True]
