"""`ttft_accelerator` of config/runtime.yaml: what the three stages may do. Reloaded when the file changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mlx_worker.engine.request import Stages
from mlx_worker.engine.speculation import SpeculationSettings

WARM_QUEUE_FLAG = "ttft_pipeline.warmup_queue"
SPECULATION_FLAG = "ttft_pipeline.speculation"
KV_PREP_FLAG = "ttft_pipeline.kv_prep"


@dataclass(frozen=True)
class WarmQueueSettings:
    """Requests that are prefilled before there is a place in the batch."""

    max_size: int = 100
    ttl_ms: int = 800
    priority_by_tokens: bool = True


@dataclass(frozen=True)
class KvPrepSettings:
    """Kept KV. `cache_warmup_ms` is the longest slice of idle time spent at once."""

    enabled: bool = True
    prefetch_enabled: bool = True
    cache_warmup_ms: int = 50


@dataclass(frozen=True)
class AcceleratorSettings:
    """Without a file every stage may be used, and each request's flags decide."""

    enabled: bool = True
    warm_queue: WarmQueueSettings = field(default_factory=WarmQueueSettings)
    speculation: SpeculationSettings = field(default_factory=SpeculationSettings)
    kv_prep: KvPrepSettings = field(default_factory=KvPrepSettings)

    def stages(self, flags: Sequence[str]) -> Stages:
        """What a request with these flags may use."""
        if not self.enabled:
            return Stages()
        return Stages(
            warm_queue=WARM_QUEUE_FLAG in flags,
            speculation=self.speculation.enabled and SPECULATION_FLAG in flags,
            kv_prep=self.kv_prep.enabled and KV_PREP_FLAG in flags,
        )


Section = TypeVar("Section")


def read_section(kind: type[Section], content: Any) -> Section:
    """A section of the file; absent values take their defaults. Raises ValueError for a wrong type."""
    if not isinstance(content, dict):
        raise ValueError(f"{kind.__name__}: not a mapping")
    values = {}
    for part in fields(kind):  # type: ignore[arg-type]  # only ever a dataclass
        if part.name not in content:
            continue
        value, default = content[part.name], getattr(kind(), part.name)
        wanted = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool):
            raise ValueError(f"{part.name} must be {type(default).__name__}, not {value!r}")
        values[part.name] = value
    return kind(**values)


def read_accelerator(path: Path) -> AcceleratorSettings:
    """Raises OSError when the file cannot be read and ValueError when it is wrong."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML") from error
    section = content.get("ttft_accelerator", {}) if isinstance(content, dict) else None
    if not isinstance(section, dict):
        raise ValueError(f"{path}: ttft_accelerator is not a mapping")
    enabled = section.get("enabled", True)
    if not isinstance(enabled, bool):
        raise ValueError("enabled must be bool")
    return AcceleratorSettings(
        enabled,
        read_section(WarmQueueSettings, section.get("warm_queue", {})),
        read_section(SpeculationSettings, section.get("speculation", {})),
        read_section(KvPrepSettings, section.get("kv_prep", {})),
    )
