"""Faults on purpose, to see how a canary that misbehaves is found. Off unless MLX_WORKER_FAULT names a file.

The file is JSON and read again when it changes: worker id to faults, as {"canary-worker": {"slow_ms": 200}}.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable
from typing import Any

from mlx_worker.errors import ServiceError
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.logs import Logger

VARIABLE = "MLX_WORKER_FAULT"
CRASH_CODE = 70
Answers = AsyncGenerator[wpb.WorkerGenerateResponse]


class Faults:
    """slow_ms: each request waits. fail: share of requests that fail. leak_mb: kept for each request.
    crash: the process ends at the next request. hang: the engine stands still at the next request.
    loop: every token is the same. empty: no token comes."""

    def __init__(
        self, path: str, worker_id: str, logger: Logger, hang: Callable[[], object] = lambda: None
    ) -> None:
        self._path = path
        self._worker_id = worker_id
        self._logger = logger
        self._hang = hang
        self._read_at = -1.0
        self._faults: dict[str, Any] = {}
        self._owed = 0.0
        self._leaked: list[bytearray] = []
        if path:
            logger.warn("FAULTS ON PURPOSE ARE ON: this worker may be slow, fail, leak or crash", file=path)

    async def applied(self, answers: Answers) -> Answers:
        """What comes of the answers under the faults of now."""
        faults = self._now()
        if faults.get("crash"):
            os._exit(CRASH_CODE)
        if faults.get("hang"):
            self._logger.warn("FAULT ON PURPOSE: the engine stands still from now on")
            self._hang()
        self._leaked.append(bytearray(os.urandom(int(faults.get("leak_mb", 0) * 2**20))))
        await asyncio.sleep(faults.get("slow_ms", 0) / 1000)
        self._owed += faults.get("fail", 0)
        try:
            if self._owed >= 1:
                self._owed -= 1
                raise ServiceError("INTERNAL")
            async for answer in answers:
                if answer.WhichOneof("event") != "chunk" or changed(answer, faults):
                    yield answer
        finally:
            await answers.aclose()

    def _now(self) -> dict[str, Any]:
        try:
            changed_at = os.stat(self._path).st_mtime
            if changed_at != self._read_at:
                with open(self._path, encoding="utf-8") as file:
                    self._faults = json.load(file).get(self._worker_id, {})
                self._read_at = changed_at
        except (OSError, ValueError):
            return self._faults
        return self._faults


def changed(answer: wpb.WorkerGenerateResponse, faults: dict[str, Any]) -> bool:
    """Makes a chunk what the faults say. Returns False when it does not come at all."""
    if faults.get("loop"):
        for token in answer.chunk.tokens:
            token.id, token.text = 1, " so"
    return not faults.get("empty")


def faults_of(worker_id: str, logger: Logger, hang: Callable[[], object] = lambda: None) -> Faults | None:
    """The faults that the environment asks for; None, as it should be, when it asks for none."""
    path = os.environ.get(VARIABLE, "")
    return Faults(path, worker_id, logger, hang) if path else None
