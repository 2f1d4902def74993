"""The warm queue's door: prompts that are prepared while their requests wait elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import time

from mlx_worker.accelerator import AcceleratorSettings
from mlx_worker.engine.engine import Engine
from mlx_worker.engine.warm_queue import WarmPrompt
from mlx_worker.errors import ServiceError
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.generation.input import input_of
from mlx_worker.lifecycle import Lifecycle
from mlx_worker.tokenization import Tokenization

# A timer may fire a little before its time.
TIMER_SLACK_SECONDS = 0.005


class PrepareService:
    """Holds what was announced until Generate asks for it, or its time is over. Event loop's thread only."""

    def __init__(
        self,
        engine: Engine,
        tokenization: Tokenization,
        lifecycle: Lifecycle,
        accelerator: AcceleratorSettings,
    ) -> None:
        self._engine = engine
        self._tokenization = tokenization
        self._lifecycle = lifecycle
        self._prompts: dict[str, WarmPrompt] = {}
        self._being_tokenised = 0
        self.accelerator = accelerator
        self.expired = 0
        self.overflowed = 0
        self.used = 0

    def __len__(self) -> int:
        return len(self._prompts)

    async def prepare(self, message: wpb.PrepareRequest) -> wpb.PrepareResponse:
        """Never raises a ServiceError: what cannot be prepared says why, and goes on cold."""
        stages = self.accelerator.stages(message.enabled_flags)
        settings = self.accelerator.warm_queue
        if not stages.warm_queue or not message.request_id:
            return wpb.PrepareResponse(reason="OFF")
        self._expire()
        digest = digest_of(message)
        prompt = self._prompts.get(message.request_id)
        if prompt is None or prompt.digest != digest:
            if len(self) + self._being_tokenised + self._engine.warm >= settings.max_size:
                self.overflowed += 1
                return wpb.PrepareResponse(reason="FULL")
            try:
                prompt = await self._announce(message, digest)
            except ServiceError as error:
                return wpb.PrepareResponse(reason=error.reason)
        prompt.expires_at = time.monotonic() + settings.ttl_ms / 1000
        asyncio.get_running_loop().call_later(settings.ttl_ms / 1000 + TIMER_SLACK_SECONDS, self._expire)
        return wpb.PrepareResponse(warming=True, prompt_tokens=len(prompt.tokens), ttl_ms=settings.ttl_ms)

    def claim(self, message: wpb.WorkerGenerateRequest) -> WarmPrompt | None:
        """What was prepared for exactly this request. From now on it belongs to the caller."""
        self._expire()
        prompt = self._prompts.get(message.request_id)
        if prompt is None or prompt.digest != digest_of(message):
            return None
        del self._prompts[message.request_id]
        self.used += 1
        return prompt

    async def _announce(self, message: wpb.PrepareRequest, digest: bytes) -> WarmPrompt:
        self._being_tokenised += 1
        try:
            with self._lifecycle.running():
                model = self._lifecycle.model_named(message.model)
                tokens = await self._tokenization.encode(model, input_of(message))
        finally:
            self._being_tokenised -= 1
        stages = self.accelerator.stages(message.enabled_flags)
        prompt = WarmPrompt(digest, model.id, message.tenant, tokens, stages)
        before = self._prompts.get(message.request_id)
        if before is not None:
            self._engine.forget_warm(before)
        self._engine.warm_up(prompt)
        self._prompts[message.request_id] = prompt
        # Until its true time is known, so that nothing in between takes it for one that is over.
        prompt.expires_at = float("inf")
        return prompt

    def _expire(self) -> None:
        now = time.monotonic()
        for name in [name for name, prompt in self._prompts.items() if prompt.expires_at <= now]:
            self.expired += 1
            self._engine.forget_warm(self._prompts.pop(name))


def digest_of(message: wpb.PrepareRequest | wpb.WorkerGenerateRequest) -> bytes:
    """Names what makes a prompt: another tenant, model or text with the same request id is another one."""
    content = message.conversation.SerializeToString(deterministic=True)
    text = message.prompt.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(digest_size=16)
    for part in (message.tenant.encode(), message.model.encode(), text, content):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()
