"""The launchd and systemd files start the worker with options that it has."""

from __future__ import annotations

import plistlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_finds_no_fault_in_its_file(tmp_path):
    unit = tmp_path / "mlx-worker.service"
    text = (SERVICE / "mlx-worker.service").read_text()
    # The check wants a program that is there.
    unit.write_text(text.replace("/usr/local/bin/mlx-worker", sys.executable))
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
