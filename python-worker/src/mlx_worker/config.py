"""Configuration: command line, then environment, then default."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LOG_LEVELS = ("debug", "info", "warn", "error")
ENVIRONMENT_PREFIX = "MLX_SERVING_WORKER_"


@dataclass(frozen=True)
class WorkerConfig:
    """Everything that can be set. Times are in milliseconds; port 0 takes a free port."""

    host: str = "127.0.0.1"
    port: int = 50061
    metrics_port: int = 9111
    worker_id: str = "worker"
    model: str = "tiny"
    adapter: str = ""
    max_queue: int = 64
    max_batch: int = 16
    prefill_chunk: int = 512
    decode_gap_ms: int = 50
    max_queue_tokens: int = 1_000_000
    memory_limit_bytes: int = 0
    prefix_cache_bytes: int = 256 * 2**20
    kv_dir: str = ""
    kv_dir_bytes: int = 2**30
    model_bytes: int = 0
    stuck_after_ms: int = 30_000
    runtime_config: str = ""
    supervise: bool = False
    max_pending_tokens: int = 4096
    drain_timeout_ms: int = 10_000
    # Gateways that the worker joins by itself, where they reach it, and what it shows them.
    join: str = ""
    advertise: str = ""
    join_variant: str = "baseline"
    join_token: str = field(default="", repr=False)
    log_level: str = "info"


def whole_number(least: int, most: int) -> type[int]:
    """An argparse type for an integer between two limits."""

    def parse(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    parse.__name__ = "whole number"
    return parse  # type: ignore[return-value]  # argparse asks for a callable only


def runtime_config_of(environment: Mapping[str, str]) -> str:
    """The system's own runtime.yaml, where there is a folder with its configuration; else empty."""
    folder = environment.get("MLX_SERVING_CONFIG_DIR", "")
    path = os.path.join(folder, "runtime.yaml")
    return path if folder and os.path.isfile(path) else ""


def parser_for(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """The command line; its defaults are the environment's values, which are checked too."""
    defaults = WorkerConfig(worker_id=f"{socket.gethostname()}-{os.getpid()}")
    parser = argparse.ArgumentParser(
        prog="mlx-worker",
        description="Serves a language model with MLX over gRPC.",
        epilog=f"Every option can also be set as {ENVIRONMENT_PREFIX}<OPTION>, the model as MODEL too.",
    )

    def add(
        name: str, kind: type[int] | type[str], help_text: str, choices: Sequence[str] | None = None
    ) -> None:
        field = name.replace("-", "_")
        default: object = environment.get(ENVIRONMENT_PREFIX + field.upper(), getattr(defaults, field))
        if name == "runtime-config" and ENVIRONMENT_PREFIX + "RUNTIME_CONFIG" not in environment:
            default = runtime_config_of(environment)
        if name == "model" and ENVIRONMENT_PREFIX + "MODEL" not in environment:
            default = environment.get("MODEL", default)
        parser.add_argument(
            f"--{name}", type=kind, default=default, choices=choices, help=f"{help_text} (default: {default})"
        )

    port = whole_number(0, 65_535)
    add("host", str, "address to listen on")
    add("port", port, "gRPC port, 0 for a free one")
    add("metrics-port", port, "HTTP port of /metrics, /health/live and /health/ready, 0 for a free one")
    add("worker-id", str, "name in statistics and logs")
    add("model", str, "'tiny' for the packaged model, a folder, or a Hugging Face name")
    add("adapter", str, "folder of a LoRA adapter for the model, as mlx_lm.lora writes it; empty for none")
    add("max-queue", whole_number(1, 100_000), "requests that may wait; one more is refused")
    add("max-batch", whole_number(1, 1_024), "requests that run at one time")
    add("prefill-chunk", whole_number(16, 65_536), "prompt tokens between two decode steps")
    add("decode-gap-ms", whole_number(1, 60_000), "gap between tokens that prefill leaves running streams")
    add("max-queue-tokens", whole_number(1, 2**40), "prompt tokens that may wait")
    add("memory-limit-bytes", whole_number(0, 2**50), "MLX's memory, 0 for no limit")
    add("prefix-cache-bytes", whole_number(0, 2**50), "memory for kept prompts, 0 for none")
    add("kv-dir", str, "folder for kept prompts, so that a restart is warm; empty for none")
    add("kv-dir-bytes", whole_number(0, 2**50), "disk space for kept prompts")
    add("model-bytes", whole_number(0, 2**50), "memory for the weights of all models, 0 for no limit")
    add("stuck-after-ms", whole_number(1_000, 3_600_000), "a step that takes longer ends the process")
    add("runtime-config", str, "file with the settings of the TTFT accelerator, such as config/runtime.yaml")
    add("max-pending-tokens", whole_number(16, 1_000_000), "tokens that a slow reader may leave unread")
    add("drain-timeout-ms", whole_number(0, 3_600_000), "how long a stop waits for running requests")
    add("join", str, "gateways to join, host:port of their gRPC doors, comma-separated")
    add("advertise", str, "host:port at which gateways reach the worker; empty for its own address")
    add("join-variant", str, "the variant that the worker serves", ("baseline", "canary"))
    parser.add_argument(
        "--supervise", action="store_true", help="stay in front and start the worker again when it fails"
    )
    add("log-level", str, "least level that is logged", LOG_LEVELS)
    return parser


def read_config(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> WorkerConfig:
    """The frozen configuration. Prints what is wrong and exits with code 2 on a bad value."""
    parser = parser_for(environment)
    values = vars(parser.parse_args(arguments))
    if values["log_level"] not in LOG_LEVELS:
        parser.error(f"{ENVIRONMENT_PREFIX}LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}")
    # Not an option: a command line can be read by others.
    return WorkerConfig(**values, join_token=environment.get("MLX_SERVING_JOIN_TOKEN", ""))
