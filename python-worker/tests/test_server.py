"""The calls besides Generate, health, reflection and the HTTP port, over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.error
import urllib.request

import grpc
import pytest
from conftest import running_worker
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from mlx_worker.app import App
from mlx_worker.config import WorkerConfig
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.logs import Logger
from mlx_worker.metrics import PREFIX, TABLE


async def get(worker, path: str) -> tuple[int, str]:
    def read() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{worker.app.operations.port}{path}") as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(read)


async def health_of(worker, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(worker.channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


async def test_list_models_describes_the_packaged_model(worker):
    (model,) = (await worker.stub.ListModels(wpb.WorkerListModelsRequest())).models
    assert (model.id, model.context_length) == ("tiny", 2048)
    assert 500_000 < model.parameters < 1_000_000
    assert abs(model.loaded_at - time.time()) < 3600


async def test_the_default_model_may_be_named(worker):
    assert (await worker.generate("x", model="tiny", max_tokens=1)).accepted.model == "tiny"


async def test_stats_count_what_happened(worker):
    before = await worker.until(lambda stats: True)
    answer = await worker.generate("The kill switch", max_tokens=9)
    after = await worker.until(lambda stats: stats.requests_total == before.requests_total + 1)
    assert after.generated_tokens_total - before.generated_tokens_total == len(answer.ids)
    assert (after.worker_id, after.pid) == ("test-worker", os.getpid())
    assert after.resident_memory_bytes > after.active_memory_bytes > 1_000_000
    assert after.uptime_seconds > before.uptime_seconds
    assert not after.draining


async def test_stats_come_again_at_each_interval(worker):
    stream = worker.stub.Stats(wpb.StatsRequest(interval_ms=1))
    uptimes = [(await stream.read()).uptime_seconds for _ in range(3)]
    stream.cancel()
    assert uptimes == sorted(uptimes)
    assert uptimes[2] - uptimes[0] >= 0.19


async def test_health_and_readiness_follow_a_drain():
    async with running_worker() as worker:
        serving, not_serving = (
            health_pb2.HealthCheckResponse.SERVING,
            health_pb2.HealthCheckResponse.NOT_SERVING,
        )
        for service in ("", "mlx_serving.v1.Worker"):
            assert await health_of(worker, service) == serving
        status, body = await get(worker, "/health/ready")
        assert (status, json.loads(body)["status"]) == (200, "ready")
        await worker.stub.Drain(wpb.DrainRequest())
        assert await health_of(worker, "mlx_serving.v1.Worker") == not_serving
        status, body = await get(worker, "/health/ready")
        assert (status, json.loads(body)["checks"]["admission"]) == (503, "draining")
        assert (await get(worker, "/health/live"))[0] == 200


async def test_reflection_lists_the_services(worker):
    stub = reflection_pb2_grpc.ServerReflectionStub(worker.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async for response in stub.ServerReflectionInfo(iter([request])):
        names = {service.name for service in response.list_services_response.service}
    assert {"mlx_serving.v1.Worker", "grpc.health.v1.Health"} <= names


async def test_metrics_hold_the_whole_table(worker):
    await worker.generate("x", max_tokens=2)
    status, text = await get(worker, "/metrics")
    assert status == 200
    for _, name, help_text, _ in TABLE:
        assert f"# HELP {PREFIX}{name} {help_text}" in text
    assert f'{PREFIX}requests_total{{outcome="ok"}}' in text


async def test_an_unknown_path_says_which_exist(worker):
    status, body = await get(worker, "/nothing")
    assert status == 404
    assert "/health/ready" in body


async def test_a_call_before_the_model_is_loaded_is_refused_as_unavailable():
    app = App(WorkerConfig(port=0, metrics_port=0), Logger("error"))
    app.operations.start()
    await app.server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{app.server.port}") as channel:
            call = channel.unary_unary(
                "/mlx_serving.v1.Worker/Tokenize",
                request_serializer=wpb.TokenizeRequest.SerializeToString,
                response_deserializer=wpb.TokenizeResponse.FromString,
            )
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(wpb.TokenizeRequest(prompt="x"))
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert dict(caught.value.trailing_metadata())["reason"] == "LOADING"
    finally:
        await app.stop(0)
