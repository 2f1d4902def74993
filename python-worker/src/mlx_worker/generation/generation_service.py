"""Runs one generation: tokenise, queue, stream, and account for it."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from mlx_worker.accelerator import AcceleratorSettings
from mlx_worker.engine.constraint import Constraints
from mlx_worker.engine.engine import Engine
from mlx_worker.engine.request import Completion, EndReason, GeneratedToken, GenerationRequest
from mlx_worker.engine.scheduler import Priority
from mlx_worker.engine.token_stream import TokenStream
from mlx_worker.errors import ServiceError
from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.generation.input import input_of
from mlx_worker.generation.prepare_service import PrepareService
from mlx_worker.input_queue import InputQueue, Lane
from mlx_worker.lifecycle import Lifecycle
from mlx_worker.logs import Logger
from mlx_worker.metrics import Outcome, WorkerMetrics
from mlx_worker.model import LoadedModel
from mlx_worker.sampling import MOST_BIASES, sampling_options
from mlx_worker.tokenization import Tokenization, tools_of

PRIORITIES = {
    wpb.PRIORITY_UNSPECIFIED: Priority.NORMAL,
    wpb.PRIORITY_INTERACTIVE: Priority.INTERACTIVE,
    wpb.PRIORITY_NORMAL: Priority.NORMAL,
    wpb.PRIORITY_BATCH: Priority.BATCH,
    wpb.PRIORITY_BACKGROUND: Priority.BACKGROUND,
}
FINISH_REASONS = {
    EndReason.STOP: pb.FINISH_REASON_STOP,
    EndReason.LENGTH: pb.FINISH_REASON_LENGTH,
    EndReason.TOOL_CALLS: pb.FINISH_REASON_TOOL_CALLS,
}


class GenerationService:
    """Every request ends in exactly one outcome, which is counted and logged."""

    def __init__(
        self,
        engine: Engine,
        tokenization: Tokenization,
        lifecycle: Lifecycle,
        metrics: WorkerMetrics,
        logger: Logger,
        max_pending_tokens: int,
        prepared: PrepareService,
        inputs: InputQueue,
    ) -> None:
        self._engine = engine
        self._tokenization = tokenization
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._logger = logger
        self._max_pending_tokens = max_pending_tokens
        self._constraints = Constraints()
        self._prepared = prepared
        self._inputs = inputs
        self.accelerator = AcceleratorSettings()

    async def generate(
        self, message: wpb.WorkerGenerateRequest
    ) -> AsyncGenerator[wpb.WorkerGenerateResponse]:
        """Accepted, chunks, finished. Raises ServiceError; closing it early frees the request's slot."""
        request = GenerationRequest(
            message.request_id, [], sampling_options(pb.SamplingOptions()), self._stream()
        )
        outcome, error = Outcome.CANCELLED, None
        try:
            with self._lifecycle.running():
                async with aclosing(self._answer(message, request)) as answers:
                    async for answer in answers:
                        yield answer
            outcome = Outcome.OK
        except ServiceError as raised:
            outcome, error = (Outcome.FAILED if raised.is_fault else Outcome.REJECTED), raised
            raise
        except Exception as raised:
            outcome, error = Outcome.FAILED, ServiceError("INTERNAL")
            error.__cause__ = raised
            raise error from raised
        finally:
            if request.warm is not None:
                self._engine.forget_warm(request.warm)
            self._account(message, request, outcome, error)

    def _stream(self) -> TokenStream:
        return TokenStream(self._max_pending_tokens)

    async def _answer(
        self, message: wpb.WorkerGenerateRequest, request: GenerationRequest
    ) -> AsyncGenerator[wpb.WorkerGenerateResponse]:
        model = self._lifecycle.model_named(message.model)
        request.resume = list(message.resume_token_ids)
        request.options = replace(sampling_options(message.sampling), drawn=len(request.resume))
        request.model, request.tenant = model.id, message.tenant
        request.priority = PRIORITIES.get(message.priority or message.ttft_hint.priority, Priority.NORMAL)
        request.stages = self.accelerator.stages(message.enabled_flags)
        request.allow_speculation = message.ttft_hint.allow_speculation
        request.warm = self._prepared.claim(message)
        if request.warm is None:
            request.prompt = await self._tokenization.encode(model, input_of(message))
        else:
            request.prompt = request.warm.tokens
        request.tokenize_ms = (time.monotonic() - request.arrived_at) * 1000
        check_resume(request, model)
        await self._constrain(message, request, model)
        position = self._engine.submit(request)
        try:
            yield accepted(position, request, model)
            while tokens := await request.stream.read():
                self._metrics.on_tokens(len(tokens))
                if request.first_read_at is None:
                    request.first_read_at = time.monotonic()
                chunk = wpb.TokenChunk(tokens=[token_message(token, model) for token in tokens])
                yield wpb.WorkerGenerateResponse(chunk=chunk)
        finally:
            if request.stream.end is None:
                self._engine.cancel(request)
        end = request.stream.end
        if isinstance(end, Completion):
            yield finished(request, end)
        elif end is not None:
            raise end

    async def _constrain(
        self, message: wpb.WorkerGenerateRequest, request: GenerationRequest, model: LoadedModel
    ) -> None:
        """What binds the answer: tools, a bias and a schema. Raises ServiceError when they cannot be used."""
        options = request.options
        if any(token >= model.vocabulary for token, _ in options.logit_bias):
            raise ServiceError("LOGIT_BIAS_INVALID", most=MOST_BIASES)
        if message.WhichOneof("input") == "conversation":
            request.tools = tools_of(message.conversation)
        if options.json_schema:
            read = functools.partial(self._constraints.for_schema, model, options.json_schema)
            request.constraint = await self._inputs.run(Lane.SCHEMA, len(options.json_schema), read)

    def _account(
        self,
        message: wpb.WorkerGenerateRequest,
        request: GenerationRequest,
        outcome: Outcome,
        error: ServiceError | None,
    ) -> None:
        end = request.stream.end
        completion = end if isinstance(end, Completion) else None
        self._metrics.on_finished(outcome, request, completion)
        fields: dict[str, object] = {
            "request_id": message.request_id,
            "outcome": outcome.value,
            "prompt_tokens": len(request.prompt),
            "prompt_sha256": prompt_hash(request),
            "completion_tokens": completion.completion_tokens if completion else 0,
            "total_ms": round((time.monotonic() - request.arrived_at) * 1000, 1),
            "flags": list(message.enabled_flags),
        }
        if error is None:
            self._logger.info("generation finished", **fields)
        elif error.is_fault:
            self._logger.error("generation failed", error.__cause__, reason=error.reason, **fields)
        else:
            self._logger.info("generation refused", reason=error.reason, **fields)


def check_resume(request: GenerationRequest, model: LoadedModel) -> None:
    """Raises ServiceError for a part of an answer that this model cannot have given."""
    most = min(request.options.max_tokens, model.context_length - len(request.prompt))
    if len(request.resume) > most or any(token >= model.vocabulary for token in request.resume):
        raise ServiceError("RESUME_INVALID", most=most)


def accepted(position: int, request: GenerationRequest, model: LoadedModel) -> wpb.WorkerGenerateResponse:
    """The first message of a stream."""
    event = wpb.GenerationAccepted(queue_position=position, prompt_tokens=len(request.prompt), model=model.id)
    return wpb.WorkerGenerateResponse(accepted=event)


def token_message(token: GeneratedToken, model: LoadedModel) -> pb.Token:
    """One token as the client sees it."""
    message = pb.Token(id=token.id, text=token.text)
    if token.logprobs is not None:
        message.logprob = token.logprobs.own
        for at, value in token.logprobs.top:
            message.top_logprobs.add(id=at, text=model.tokenizer.decode([at]), logprob=value)
    return message


def prompt_hash(request: GenerationRequest) -> str:
    """Names a prompt in logs and events, which must not hold it."""
    return hashlib.sha256(repr(request.prompt).encode()).hexdigest()[:16]


def stage_event(request: GenerationRequest, name: str, at: float) -> wpb.StageEvent:
    """What happened on the way to the first token. A kept position is the model's own: confidence 1."""
    event = wpb.StageEvent(name=name, at_ms=(at - request.arrived_at) * 1000)
    if name.startswith("speculation:"):
        event.prompt_hash = prompt_hash(request)
        event.confidence = 1.0 if name == "speculation:hit" else 0.0
    return event


def finished(request: GenerationRequest, completion: Completion) -> wpb.WorkerGenerateResponse:
    """The last message of a stream that went well."""
    timings = pb.GenerationTimings(
        queue_ms=completion.queue_ms,
        tokenize_ms=request.tokenize_ms,
        prefill_ms=completion.prefill_ms,
        total_ms=(time.monotonic() - request.arrived_at) * 1000,
        first_emit_ms=request.first_emit_ms,
    )
    usage = pb.Usage(
        prompt_tokens=len(request.prompt),
        completion_tokens=completion.completion_tokens,
        cached_prompt_tokens=completion.cached_tokens,
    )
    stages = [stage_event(request, name, at) for name, at in request.events]
    calls = [
        pb.ToolCall(id=call.id, name=call.name, arguments_json=call.arguments_json)
        for call in completion.tool_calls
    ]
    event = wpb.GenerationFinished(
        finish_reason=FINISH_REASONS[completion.reason],
        usage=usage,
        timings=timings,
        tool_calls=calls,
        stages=stages,
    )
    return wpb.WorkerGenerateResponse(finished=event)
