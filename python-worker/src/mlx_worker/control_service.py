"""The calls that change the worker: limits, models and prepared prompts."""

from __future__ import annotations

from mlx_worker.engine.engine import Engine
from mlx_worker.engine.limits import Limits
from mlx_worker.errors import ServiceError
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.generation.input import input_of
from mlx_worker.lent_limits import LentLimits
from mlx_worker.lifecycle import Lifecycle
from mlx_worker.logs import Logger
from mlx_worker.model import LoadedModel
from mlx_worker.tokenization import Tokenization


class ControlService:
    """What is done here is logged: it was done by an operator or by a controller."""

    def __init__(
        self,
        engine: Engine,
        limits: LentLimits,
        tokenization: Tokenization,
        lifecycle: Lifecycle,
        logger: Logger,
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._tokenization = tokenization
        self._lifecycle = lifecycle
        self._logger = logger

    async def set_limits(self, request: wpb.SetLimitsRequest) -> wpb.SetLimitsResponse:
        """Sets or lends the present fields. Raises ServiceError LIMIT_INVALID and changes nothing."""
        values = {field.name: value for field, value in request.ListFields() if field.name != "ttl_ms"}
        if not values:
            return limits_message(self._engine.limits, self._limits.own)
        lent = request.ttl_ms > 0
        limits = await (self._limits.lend(values, request.ttl_ms) if lent else self._limits.change(values))
        return limits_message(limits, self._limits.own)

    async def load_model(self, request: wpb.LoadModelRequest) -> wpb.LoadModelResponse:
        """Raises ServiceError MODEL_TOO_LARGE, MODEL_IN_USE or MODEL_NOT_LOADED."""
        default = self._lifecycle.model_named("")
        if not request.model:
            raise ServiceError("MODEL_NOT_LOADED", model="")
        adapter = request.adapter if request.HasField("adapter") else None
        try:
            model, gone = await self._engine.load(request.model, request.pin, adapter)
        except ServiceError:
            raise
        except Exception as error:
            self._logger.error("a model could not be loaded", error, model=request.model)
            raise ServiceError("MODEL_NOT_LOADED", model=request.model) from error
        for name in gone:
            self._lifecycle.others.pop(name, None)
        if model.id != default.id:
            self._lifecycle.others[model.id] = model
        self._logger.info("model loaded", model=model.id, unloaded=gone)
        return wpb.LoadModelResponse(model=self.info(model), unloaded=gone)

    async def unload_model(self, request: wpb.UnloadModelRequest) -> wpb.UnloadModelResponse:
        """Raises ServiceError MODEL_NOT_FOUND or MODEL_IN_USE."""
        model = self._lifecycle.model_named(request.model)
        # Refused from now on, so that no request can come between.
        known = self._lifecycle.others.pop(model.id, None)
        try:
            await self._engine.unload(model.id)
        except ServiceError:
            if known is not None:
                self._lifecycle.others[model.id] = known
            raise
        self._logger.info("model unloaded", model=model.id)
        return wpb.UnloadModelResponse()

    async def pin_model(self, request: wpb.PinModelRequest) -> wpb.PinModelResponse:
        """Raises ServiceError MODEL_NOT_FOUND."""
        model = self._lifecycle.model_named(request.model)
        return wpb.PinModelResponse(model=self.info(await self._engine.pin(model.id, request.pinned)))

    async def prepare_kv(self, request: wpb.PrepareKvRequest) -> wpb.PrepareKvResponse:
        """Waits for idle time. Raises ServiceError as Generate does."""
        model = self._lifecycle.model_named(request.model)
        tokens = await self._tokenization.encode(model, input_of(request), open_answer=request.open_answer)
        if request.unpin:
            unpinned = await self._engine.unpin(model.id, request.tenant, tokens)
            return wpb.PrepareKvResponse(prompt_tokens=len(tokens), prepared=unpinned)
        prepared = await self._engine.prepare(
            model.id,
            request.tenant,
            tokens,
            pin=request.pin,
            allow_speculation=request.allow_speculation,
        )
        return wpb.PrepareKvResponse(
            prompt_tokens=len(tokens), cached_tokens=prepared.cached_tokens, prepared=prepared.prepared
        )

    async def allow_speculation(self, request: wpb.AllowSpeculationRequest) -> wpb.AllowSpeculationResponse:
        """The prompt is computed when there is idle time; this does not wait for it. Raises ServiceError."""
        model = self._lifecycle.model_named(request.model)
        tokens = await self._tokenization.encode(model, input_of(request))
        if request.remove:
            await self._engine.disallow(model.id, tokens)
        else:
            await self._engine.allow(model.id, request.tenant, tokens)
        return wpb.AllowSpeculationResponse(allowlisted=self._engine.work.speculation.allowlisted)

    def list_models(self) -> wpb.WorkerListModelsResponse:
        """The models that are served; none while the default one is being loaded."""
        default = self._lifecycle.model
        if default is None:
            return wpb.WorkerListModelsResponse()
        models = [default, *self._lifecycle.others.values()]
        return wpb.WorkerListModelsResponse(models=[self.info(model) for model in models])

    def info(self, model: LoadedModel) -> wpb.ModelInfo:
        """A model as clients see it."""
        pinned = {known.id: is_pinned for known, is_pinned in self._engine.models()}
        default = self._lifecycle.model
        return wpb.ModelInfo(
            id=model.id,
            context_length=model.context_length,
            parameters=model.parameters,
            loaded_at=model.loaded_at,
            weight_bytes=model.weight_bytes,
            pinned=pinned.get(model.id, False),
            adapter=model.adapter,
            is_default=default is not None and model.id == default.id,
        )


def limits_message(limits: Limits, own: Limits) -> wpb.SetLimitsResponse:
    """The limits as clients see them: those that hold, and the worker's own."""
    return wpb.SetLimitsResponse(
        max_batch=limits.max_batch,
        prefill_chunk=limits.prefill_chunk,
        decode_gap_ms=limits.decode_gap_ms,
        max_queue=limits.max_queue,
        max_queue_tokens=limits.max_queue_tokens,
        memory_limit_bytes=limits.memory_limit_bytes,
        prefix_cache_bytes=limits.prefix_cache_bytes,
        own_max_batch=own.max_batch,
    )
