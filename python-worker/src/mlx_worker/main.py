"""Entry point of `mlx-worker`."""

from __future__ import annotations

import os
import sys

from mlx_worker.blas import ensure_blas
from mlx_worker.config import read_config
from mlx_worker.logs import Logger
from mlx_worker.supervisor import supervise

# How long a thread may keep Python from the others; 5 ms, its default, is most of a decode step.
SWITCH_SECONDS = 0.0005


def main() -> None:
    """Reads the configuration, serves until told to stop, and exits: 0 after a stop, 1 after a fault."""
    config = read_config()
    if config.supervise:
        logger = Logger(config.log_level, worker_id=config.worker_id)
        sys.exit(supervise(sys.argv[1:], logger, config.stuck_after_ms / 1000))
    warning = ensure_blas()
    # Else gRPC's core and transformers write lines of their own between the JSON lines.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    # Imported late: what it imports loads MLX, which must find its BLAS already in place.
    from mlx_worker.app import serve

    sys.setswitchinterval(SWITCH_SECONDS)
    sys.exit(serve(config, warning))
