"""The wheel holds the model and installs a working command."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from test_process import generate, process, serving_port

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_holds_the_model_and_its_command_serves_a_request(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = tmp_path.glob("mlx_serving_worker-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "mlx_worker/models/tiny/model.safetensors" in names
    assert "mlx_worker/gen/mlx_serving/v1/worker_pb2.py" in names
    target = tmp_path / "installed"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True)
    command = [sys.executable, str(target / "bin" / "mlx-worker"), "--help"]
    helped = subprocess.run(command, env={"PYTHONPATH": str(target)}, capture_output=True, text=True)
    assert helped.returncode == 0, helped.stderr
    assert "usage: mlx-worker" in helped.stdout
    installed = {"PYTHONPATH": str(target)}
    where = [sys.executable, "-c", "import mlx_worker; print(mlx_worker.__file__)"]
    assert str(target) in subprocess.run(where, env=installed, capture_output=True, text=True).stdout
    program = [str(target / "bin" / "mlx-worker")]
    with process(program, "--port", "0", "--metrics-port", "0", **installed) as running:
        events = generate(serving_port(running), max_tokens=3)
        assert (events[0], events[-1]) == ("accepted", "finished")
