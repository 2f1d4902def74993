"""The engine: what the services ask of the thread that runs every request."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import mlx.core as mx

from mlx_worker.accelerator import AcceleratorSettings
from mlx_worker.engine.engine_thread import EngineThread, fail, resolve
from mlx_worker.engine.idle_work import Preparation, Prepared
from mlx_worker.engine.limits import Limits
from mlx_worker.engine.prefill_job import PrefillJob
from mlx_worker.engine.warm_queue import WarmPrompt
from mlx_worker.errors import ServiceError
from mlx_worker.model import LoadedModel, ModelFiles, model_id, read_files
from mlx_worker.slices import Slices


class Engine(EngineThread):
    """Limits, models, prepared prompts, and what can be seen of the queue. For the event loop's thread."""

    async def set_limits(self, limits: Limits) -> None:
        """Takes new limits into use; those of the queue hold at once."""
        self._inbox.limits = limits
        await self.call(lambda: self._steps.apply(limits))

    async def configure(self, settings: AcceleratorSettings) -> None:
        """Takes new settings of the stages into use."""
        await self.call(lambda: self._steps.configure(settings))

    async def load(self, name: str, pin: bool, adapter: str | None = None) -> tuple[LoadedModel, list[str]]:
        """Loads a model beside the others, which go on. Raises what kept it from loading.

        Without an `adapter` one that is loaded stays as it is; an empty one is the model alone.
        """
        known = {model.id: model for model, _ in self.models()}.get(model_id(name))
        if known is not None and adapter is None:
            return (await self.pin(known.id, True) if pin else known), []
        source = name if known is None else known.source
        files = await self._read(source, adapter or "")

        def load() -> Slices[tuple[LoadedModel, list[str]]]:
            served, gone = yield from self._load(files, pin)
            # It may have been unloaded between two slices.
            return self._models.named(served.id).model, gone

        return await self.call_in_slices(load())

    async def _read(self, source: str, adapter: str) -> ModelFiles:
        """In a thread that keeps no process from ending: a download may take as long as it likes."""
        read: asyncio.Future[ModelFiles] = self._loop.create_future()

        def work() -> None:
            try:
                self._call(resolve, read, read_files(source, adapter))
            except BaseException as error:
                self._call(fail, read, error)

        threading.Thread(target=work, name="model-files", daemon=True).start()
        return await self._result_of(read)

    async def unload(self, name: str) -> None:
        """Unloads an idle model, with all that was kept for it. Raises ServiceError."""

        def unload() -> None:
            self._models.unload(name, self.work.busy_models)

        await self.call(unload)

    async def pin(self, name: str, pinned: bool) -> LoadedModel:
        """Keeps a model from being unloaded to make room, or no longer. Raises ServiceError."""

        def pin() -> LoadedModel:
            served = self._models.named(name)
            served.pinned = pinned
            return served.model

        return await self.call(pin)

    def models(self) -> list[tuple[LoadedModel, bool]]:
        """The loaded models, the default one first, and whether they are pinned."""
        return [(served.model, served.pinned) for served in self._models]

    async def prepare(
        self, model: str, tenant: str, tokens: list[int], *, pin: bool, allow_speculation: bool
    ) -> Prepared:
        """Computes a prompt in idle time and keeps it. When the caller goes away, so does the work."""
        ended: asyncio.Future[Prepared] = self._loop.create_future()
        made: list[Preparation] = []

        def add() -> bool:
            if ended.cancelled():
                return True
            served = self._models.named(model)
            preparation = Preparation(
                PrefillJob(served, tenant, tokens),
                pin,
                allow_speculation,
                lambda prepared: self._call(resolve, ended, prepared),
            )
            if pin:
                self._check_pins(preparation)
            if allow_speculation:
                self.work.speculation.allow(served.id, tokens)
            made.append(preparation)
            return self.work.idle.add(preparation)

        try:
            if not await self.call(add):
                raise ServiceError("QUEUE_FULL", retry_after_ms=1000, waiting=len(self.work.idle))
            return await ended
        except asyncio.CancelledError:
            # Also when `add` has not had its turn yet.
            ended.cancel()
            for preparation in made:
                preparation.cancelled = True
            raise

    def warm_up(self, prompt: WarmPrompt) -> None:
        """Announces a prompt whose request waits elsewhere. Raises ServiceError ENGINE_STOPPED."""
        self._inbox.command(lambda: self.work.warm_queue.add(prompt))

    def forget_warm(self, prompt: WarmPrompt) -> None:
        """Frees an announced prompt, unless a request has gone on from it."""
        with suppress(ServiceError):
            self._inbox.command(lambda: self.work.warm_queue.forget(prompt))

    def stand_still(self) -> None:
        """A fault on purpose: nothing is served any more, as when a device hangs."""

        def wait_for_ever() -> None:
            threading.Event().wait()

        self._inbox.command(wait_for_ever)

    async def allow(self, model: str, tenant: str, tokens: list[int]) -> None:
        """Puts a prompt on the allowlist, and computes it once there is idle time."""

        def add() -> None:
            served = self._models.named(model)
            self.work.speculation.allow(served.id, tokens)
            self.work.idle.add(Preparation(PrefillJob(served, tenant, tokens), with_logits=True))

        await self.call(add)

    async def disallow(self, model: str, tokens: list[int]) -> None:
        """Takes a prompt off the allowlist."""
        await self.call(lambda: self.work.speculation.disallow(model, tokens))

    async def unpin(self, model: str, tenant: str, tokens: list[int]) -> bool:
        """Takes the pin of a prepared prompt away. False: there was none."""

        def unpin() -> bool:
            served = self._models.named(model)
            return self.work.prefixes.unpin(served.can_be_cut, served.id, tenant, tokens)

        return await self.call(unpin)

    @property
    def queued(self) -> int:
        """Requests that wait for a place in the batch."""
        return len(self._inbox) + self._inbox.held

    @property
    def queued_tokens(self) -> int:
        """Prompt tokens that wait."""
        return self._inbox.tokens

    @property
    def running(self) -> int:
        """Requests that have a place in the batch."""
        return self.work.running

    @property
    def warm(self) -> int:
        """Requests that are prefilled ahead of their place in the batch."""
        return self._inbox.held

    def _check_pins(self, preparation: Preparation) -> None:
        """Counts what is pinned already and what waits to be pinned, each prompt once."""
        prefixes = self.work.prefixes
        pins = {prep.prompt: prep for prep in [*self.work.idle.waiting, preparation] if prep.pin}
        needed = prefixes.pinned_bytes
        for prep in pins.values():
            served, tokens = prep.job.served, prep.job.tokens
            held = prefixes.held_length(served.can_be_cut, served.id, prep.job.tenant, tokens)
            needed += (len(tokens) - held) * served.bytes_per_token
        if needed > prefixes.most_bytes:
            raise ServiceError("PINS_FULL", needed=needed, budget=prefixes.most_bytes)


def active_memory_bytes() -> int:
    """Memory that MLX has allocated and not yet freed."""
    return int(mx.get_active_memory())
