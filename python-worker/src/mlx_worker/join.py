"""Joins gateways: a lease with each, renewed for as long as the worker serves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import grpc

from mlx_worker.gen.mlx_serving.v1 import membership_pb2 as mpb
from mlx_worker.gen.mlx_serving.v1 import membership_pb2_grpc as mgrpc
from mlx_worker.logs import Logger

# Renewed after this share of the lease, so that two messages may be lost.
RENEW_AFTER = 0.3
# Of a gateway that does not say how long its lease is.
DEFAULT_LEASE_SECONDS = 3.0
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.2, 5.0


class GatewayJoin:
    """Keeps a worker joined to gateways, and comes back to each by itself. Used in the event loop."""

    def __init__(
        self,
        gateways: list[str],
        address: str,
        variant: str,
        token: str,
        serving: Callable[[], bool],
        logger: Logger,
    ) -> None:
        self._gateways = gateways
        self._request = mpb.JoinRequest(address=address, variant=variant)
        self._metadata = (("join-token", token),) if token else ()
        self._serving = serving
        self._logger = logger
        self._left = asyncio.Event()
        # Something is put there when a gateway's next message is due.
        self._due: dict[str, asyncio.Queue[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Joins all gateways from now on."""
        self._tasks = [asyncio.create_task(self._stay(gateway)) for gateway in self._gateways]

    async def leave(self) -> None:
        """Leaves all gateways: they send nothing new."""
        self._left.set()
        for due in self._due.values():
            due.put_nowait(None)
        for task in self._tasks:
            with suppress(asyncio.CancelledError, asyncio.TimeoutError):
                await asyncio.wait_for(task, 1)

    async def _stay(self, gateway: str) -> None:
        delay, joined = FIRST_RETRY_SECONDS, False
        loop = asyncio.get_running_loop()
        while not self._left.is_set():
            due = self._due[gateway] = asyncio.Queue()
            due.put_nowait(None)
            try:
                async with grpc.aio.insecure_channel(gateway) as channel:
                    stub = mgrpc.MembershipStub(channel)
                    async for lease in stub.Join(self._messages(due), metadata=self._metadata):
                        if not joined:
                            self._logger.info("joined", gateway=gateway, ttl_ms=lease.ttl_ms)
                        delay, joined = FIRST_RETRY_SECONDS, True
                        seconds = lease.ttl_ms / 1000 or DEFAULT_LEASE_SECONDS
                        loop.call_later(seconds * RENEW_AFTER, due.put_nowait, None)
            except grpc.aio.AioRpcError as error:
                if joined or delay == FIRST_RETRY_SECONDS:
                    self._logger.warn("not joined", gateway=gateway, status=error.code().name)
            joined = False
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._left.wait(), delay)
            delay = min(LAST_RETRY_SECONDS, delay * 2)

    async def _messages(self, due: asyncio.Queue[None]) -> AsyncIterator[Any]:
        """A message whenever one is due, until the worker leaves or serves no more."""
        while True:
            await due.get()
            if not self._serving() or self._left.is_set():
                return
            yield self._request


def advertised(host: str, port: int) -> str:
    """Where others reach a server that listens here."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
