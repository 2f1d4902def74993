"""The launchd and systemd files start the worker with options that it has."""

from __future__ import annotations

import plistlib
import re
import shlex
from pathlib import Path

from mlx_worker.config import WorkerConfig, read_config

SERVICE = Path(__file__).resolve().parents[1] / "service"


def assert_starts(command: list[str]) -> None:
    assert Path(command[0]).name == "mlx-worker"
    assert read_config(command[1:], {}).supervise


def test_launchd_starts_the_worker_and_lets_it_drain():
    unit = plistlib.loads((SERVICE / "org.mlx-serving.worker.plist").read_bytes())
    assert_starts(unit["ProgramArguments"])
    assert unit["ExitTimeOut"] * 1000 > WorkerConfig.drain_timeout_ms
    assert unit["KeepAlive"] == {"SuccessfulExit": False}


def test_systemd_starts_the_worker_and_lets_it_drain():
    text = (SERVICE / "mlx-worker.service").read_text()
    unit = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    assert_starts(shlex.split(unit["ExecStart"]))
    assert int(unit["TimeoutStopSec"]) * 1000 > WorkerConfig.drain_timeout_ms
    assert (unit["Restart"], unit["RestartPreventExitStatus"]) == ("on-failure", "2")
