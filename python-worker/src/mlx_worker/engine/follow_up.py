"""What probably comes after a request is prepared in idle time."""

from __future__ import annotations

from mlx_worker.engine.idle_work import Preparation
from mlx_worker.engine.prefill_job import PrefillJob
from mlx_worker.engine.request import GenerationRequest
from mlx_worker.engine.served_model import ServedModel
from mlx_worker.engine.work import Work


def prepare_following(work: Work, request: GenerationRequest, served: ServedModel) -> None:
    """Prepares the prompt that probably follows this one."""
    settings = work.settings
    if not (settings.kv_prep.enabled and settings.kv_prep.prefetch_enabled):
        return
    if not request.stages.speculation:
        return
    following = work.speculation.next_after(served.id, request.tenant, request.prompt)
    if following is not None and len(work.idle) < settings.speculation.max_candidates:
        known = work.prefixes.known_length(served.can_be_cut, served.id, request.tenant, following)
        if known < len(following) - 1:
            work.idle.add(Preparation(PrefillJob(served, request.tenant, list(following))))
