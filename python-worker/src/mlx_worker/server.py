"""gRPC transport: each call goes to its handler, each ServiceError to a status."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, NoReturn, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from mlx_worker.control_service import ControlService
from mlx_worker.errors import ServiceError
from mlx_worker.fault import Faults
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2_grpc as wgrpc
from mlx_worker.generation.generation_service import GenerationService
from mlx_worker.generation.prepare_service import PrepareService
from mlx_worker.status_service import StatusService

SERVICE = wpb.DESCRIPTOR.services_by_name["Worker"].full_name
MESSAGE_BYTES = 4 * 1024 * 1024
OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Clients may ping this often without a call; more often, they are sent away.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    # Else a second worker would share the port silently.
    ("grpc.so_reuseport", 0),
]
Answer = TypeVar("Answer")
Context = grpc.aio.ServicerContext[Any, Any]


class WorkerServicer(wgrpc.WorkerServicer):
    """The Worker service."""

    def __init__(
        self,
        generation: GenerationService,
        prepare: PrepareService,
        status: StatusService,
        control: ControlService,
        faults: Faults | None = None,
    ) -> None:
        self._faults = faults
        self._generation = generation
        self._prepare = prepare
        self._status = status
        self._control = control

    async def Generate(  # type: ignore[override]  # the stub knows no way to write
        self, request: wpb.WorkerGenerateRequest, context: Context
    ) -> None:
        answers = self._generation.generate(request)
        if self._faults is not None:
            answers = self._faults.applied(answers)
        try:
            async for answer in answers:
                await context.write(answer)
        except ServiceError as error:
            await refuse(context, error)
        finally:
            await answers.aclose()

    async def Prepare(self, request: wpb.PrepareRequest, context: Context) -> wpb.PrepareResponse:
        return await self._prepare.prepare(request)

    async def Tokenize(self, request: wpb.TokenizeRequest, context: Context) -> wpb.TokenizeResponse:
        return await answered(self._status.tokenize(request), context)

    async def ListModels(
        self, request: wpb.WorkerListModelsRequest, context: Context
    ) -> wpb.WorkerListModelsResponse:
        return self._control.list_models()

    async def LoadModel(self, request: wpb.LoadModelRequest, context: Context) -> wpb.LoadModelResponse:
        return await answered(self._control.load_model(request), context)

    async def UnloadModel(self, request: wpb.UnloadModelRequest, context: Context) -> wpb.UnloadModelResponse:
        return await answered(self._control.unload_model(request), context)

    async def PinModel(self, request: wpb.PinModelRequest, context: Context) -> wpb.PinModelResponse:
        return await answered(self._control.pin_model(request), context)

    async def PrepareKv(self, request: wpb.PrepareKvRequest, context: Context) -> wpb.PrepareKvResponse:
        return await answered(self._control.prepare_kv(request), context)

    async def AllowSpeculation(
        self, request: wpb.AllowSpeculationRequest, context: Context
    ) -> wpb.AllowSpeculationResponse:
        return await answered(self._control.allow_speculation(request), context)

    async def SetLimits(self, request: wpb.SetLimitsRequest, context: Context) -> wpb.SetLimitsResponse:
        return await answered(self._control.set_limits(request), context)

    async def Stats(  # type: ignore[override]  # as Generate
        self, request: wpb.StatsRequest, context: Context
    ) -> None:
        async for stats in self._status.watch(request.interval_ms):
            await context.write(stats)

    async def Drain(self, request: wpb.DrainRequest, context: Context) -> wpb.DrainResponse:
        return await self._status.drain(request.timeout_ms)


async def answered(answer: Awaitable[Answer], context: Context) -> Answer:
    """The answer, or the status of the ServiceError that came instead."""
    try:
        return await answer
    except ServiceError as error:
        await refuse(context, error)


async def refuse(context: Context, error: ServiceError) -> NoReturn:
    """Ends the call with the error's status, message and trailing metadata."""
    await context.abort(error.code, error.message, error.trailing_metadata())


class GrpcServer:
    """The Worker service with grpc.health.v1 and reflection."""

    def __init__(self, servicer: WorkerServicer, host: str, port: int) -> None:
        """Binds at once. Raises OSError when the port is taken."""
        self._server = grpc.aio.server(options=OPTIONS)
        self._health = health_aio.HealthServicer()
        wgrpc.add_WorkerServicer_to_server(servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        try:
            self.port = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(f"gRPC port {port} is in use or not allowed") from error

    async def start(self) -> None:
        """Answers from now on, as not serving."""
        await self.set_serving(False)
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """What grpc.health.v1 says of the whole server and of the Worker service."""
        state = health_pb2.HealthCheckResponse
        status = state.SERVING if serving else state.NOT_SERVING
        for service in ("", SERVICE):
            await self._health.set(service, status)

    async def stop(self, grace_seconds: float) -> None:
        """Closes the port; calls that still run after the grace are cancelled."""
        await self._server.stop(grace_seconds)
