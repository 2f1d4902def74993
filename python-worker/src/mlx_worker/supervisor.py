"""`mlx-worker --supervise`: keeps a worker running, in a process that itself loads nothing."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from mlx_worker.logs import Logger
from mlx_worker.watchdog import HEARTBEAT_VARIABLE

RESTARTS_VARIABLE = "MLX_SERVING_WORKER_RESTARTS"
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
# After so long without a fault the next restart is quick again.
HEALTHY_AFTER_SECONDS = 60.0
# So many workers in a row that never served: a restart does not mend it, such as a port in use.
MOST_EARLY_ENDS = 5


class Supervisor:
    """Starts the worker again whenever it ends by itself with another code than 0 or 2."""

    def __init__(self, command: Sequence[str], logger: Logger, stuck_after_seconds: float) -> None:
        """A worker that has served, and then is silent for `stuck_after_seconds`, is killed."""
        self._command = list(command)
        self._stuck_after_seconds = stuck_after_seconds
        self._logger = logger
        self._stopping = False
        self._worker: subprocess.Popen[bytes] | None = None
        self._has_served = False
        self.restarts = 0

    def run(self) -> int:
        """Returns the worker's exit code once it was told to stop, or cannot be started."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._pass_on)
        pause, early_ends = FIRST_PAUSE_SECONDS, 0
        while True:
            started = time.monotonic()
            code = self._run_once()
            if self._stopping or code in (0, 2):
                return max(code, 0)
            lived = time.monotonic() - started
            early_ends = 0 if self._has_served else early_ends + 1
            if early_ends >= MOST_EARLY_ENDS:
                self._logger.error("the worker keeps ending at its start", exit_code=code)
                return code if code > 0 else 1
            pause = FIRST_PAUSE_SECONDS if lived > HEALTHY_AFTER_SECONDS else pause
            self.restarts += 1
            self._logger.warn("the worker ended and is started anew", exit_code=code, restarts=self.restarts)
            time.sleep(pause)
            if self._stopping:
                return 0
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _run_once(self) -> int:
        heard, beats = os.pipe()
        environment = {
            **os.environ,
            RESTARTS_VARIABLE: str(self.restarts),
            HEARTBEAT_VARIABLE: str(beats),
        }
        self._worker = subprocess.Popen(self._command, env=environment, pass_fds=(beats,))
        os.close(beats)
        try:
            self._listen(heard, self._worker)
            return self._worker.wait()
        finally:
            os.close(heard)

    def _listen(self, heard: int, worker: subprocess.Popen[bytes]) -> None:
        """Until the worker has ended. It beats once it serves: loading takes as long as it takes."""
        patience: float | None = None
        self._has_served = False
        while True:
            ready, _, _ = select.select([heard], [], [], patience)
            if not ready:
                if self._stopping:
                    # It drains, and whoever told it to stop has a limit of his own.
                    patience = None
                    continue
                self._logger.error("the worker shows no sign of life and is killed")
                worker.kill()
                return
            if not os.read(heard, 4096):
                return
            self._has_served, patience = True, self._stuck_after_seconds

    def _pass_on(self, number: int, frame: object) -> None:
        self._stopping = True
        if self._worker is not None and self._worker.poll() is None:
            self._worker.send_signal(number)


def supervise(arguments: Sequence[str], logger: Logger, stuck_after_seconds: float) -> int:
    """Runs the worker with these arguments under supervision. Returns the exit code."""
    kept = [argument for argument in arguments if argument != "--supervise"]
    return Supervisor([sys.executable, "-m", "mlx_worker", *kept], logger, stuck_after_seconds).run()
