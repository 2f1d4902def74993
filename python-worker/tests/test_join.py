"""A worker that joins gateways by itself."""

from __future__ import annotations

import asyncio
import io

import grpc
import pytest_asyncio
from conftest import GATE_TIMEOUT_SECONDS, running_worker

from mlx_worker import join as join_module
from mlx_worker.gen.mlx_serving.v1 import membership_pb2 as mpb
from mlx_worker.gen.mlx_serving.v1 import membership_pb2_grpc as mgrpc
from mlx_worker.join import GatewayJoin, advertised
from mlx_worker.logs import Logger


class Gateway(mgrpc.MembershipServicer):
    """Keeps what workers say. With `refuse` it sends them away."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[tuple[mpb.JoinRequest, str] | None] = asyncio.Queue()
        self.refuse = False
        self.ttl_ms = 6000

    async def Join(self, requests, context):  # noqa: N802
        if self.refuse:
            self.refuse = False
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        token = dict(context.invocation_metadata()).get("join-token", "")
        async for request in requests:
            await self.said.put((request, token))
            yield mpb.JoinResponse(ttl_ms=self.ttl_ms)
        await self.said.put(None)


@pytest_asyncio.fixture
async def gateway():
    served = Gateway()
    server = grpc.aio.server()
    mgrpc.add_MembershipServicer_to_server(served, server)
    served.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield served
    await server.stop(0)


async def test_it_joins_when_it_serves_and_leaves_before_it_drains(gateway):
    async with running_worker(join=gateway.address, join_token="secret") as worker:
        request, token = await asyncio.wait_for(gateway.said.get(), GATE_TIMEOUT_SECONDS)
        assert (request.address, request.variant, token) == (
            f"127.0.0.1:{worker.app.server.port}",
            "baseline",
            "secret",
        )
    while await asyncio.wait_for(gateway.said.get(), GATE_TIMEOUT_SECONDS) is not None:
        pass


async def test_it_renews_as_often_as_the_lease_asks_for(gateway, monkeypatch):
    # Were the lease not read, the second message would come after days.
    monkeypatch.setattr(join_module, "DEFAULT_LEASE_SECONDS", 10.0**6)
    gateway.ttl_ms = 100
    join = GatewayJoin([gateway.address], "w:1", "canary", "", lambda: True, Logger("error", io.StringIO()))
    join.start()
    for _ in range(4):
        assert await asyncio.wait_for(gateway.said.get(), GATE_TIMEOUT_SECONDS) is not None
    await join.leave()


async def test_it_renews_and_comes_back_to_a_gateway_that_sent_it_away(gateway):
    gateway.refuse, gateway.ttl_ms = True, 600
    log = io.StringIO()
    join = GatewayJoin([gateway.address], "w:1", "canary", "", lambda: True, Logger("info", log))
    join.start()
    for _ in range(3):
        request, _ = await asyncio.wait_for(gateway.said.get(), GATE_TIMEOUT_SECONDS)
        assert (request.address, request.variant) == ("w:1", "canary")
    await join.leave()
    assert "not joined" in log.getvalue()
    assert "secret" not in log.getvalue()


def test_it_names_an_address_that_others_can_reach():
    assert advertised("127.0.0.1", 5) == "127.0.0.1:5"
    assert advertised("::1", 5) == "[::1]:5"
    assert advertised("0.0.0.0", 5).endswith(":5")
    assert not advertised("0.0.0.0", 5).startswith("0.")
