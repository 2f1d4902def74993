"""The worker as a process of its own: start, signals, ports and faults."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from mlx_worker.gen.mlx_serving.v1 import generation_pb2 as pb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2_grpc as wgrpc

SOURCE = Path(__file__).resolve().parents[1] / "src"
# Far more than a loaded machine needs: it only ends what would wait for ever.
TIMEOUT = 300
MODULE = ["-m", "mlx_worker"]
FAILING = [
    "-c",
    "import mlx_worker.blas; mlx_worker.blas.ensure_blas();"
    "from mlx_worker.engine.forward import Forward;"
    "Forward.last_logits = lambda *arguments: 1 / 0;"
    "from mlx_worker.main import main; main()",
]


@contextmanager
def process(program: list[str], *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **variables}
    command = [sys.executable, *program, *arguments]
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.wait(TIMEOUT)
        running.stderr.close()


def serving_port(running: subprocess.Popen[str]) -> int:
    """The gRPC port, from the line in which the worker says that it serves."""
    for line in running.stderr:
        entry = json.loads(line)
        if entry["msg"] == "serving":
            return entry["port"]
    raise AssertionError("the worker ended before it served")


def generate(port: int, **sampling) -> list[str]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = wpb.WorkerGenerateRequest(prompt="A flag", sampling=pb.SamplingOptions(**sampling))
        return [message.WhichOneof("event") for message in wgrpc.WorkerStub(channel).Generate(request)]


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_streams_end_and_exits_with_zero(sign):
    with process(MODULE, "--port", "0", "--metrics-port", "0") as running:
        with grpc.insecure_channel(f"127.0.0.1:{serving_port(running)}") as channel:
            sampling = pb.SamplingOptions(max_tokens=150, temperature=2, seed=1)
            request = wpb.WorkerGenerateRequest(prompt="A flag", sampling=sampling)
            stream = wgrpc.WorkerStub(channel).Generate(request)
            assert next(stream).WhichOneof("event") == "accepted"
            running.send_signal(sign)
            assert [message.WhichOneof("event") for message in stream][-1] == "finished"
        assert running.wait(TIMEOUT) == 0


def test_a_port_in_use_is_one_clear_line_and_exit_code_1():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments in (["--port", port, "--metrics-port", "0"], ["--port", "0", "--metrics-port", port]):
            with process(MODULE, *arguments) as running:
                errors = running.communicate(timeout=TIMEOUT)[1].splitlines()
                assert running.returncode == 1
                assert len(errors) == 1
                assert port in errors[0]
                assert errors[0].startswith("mlx-worker: cannot listen on 127.0.0.1")


def test_a_model_that_does_not_exist_is_a_fault_of_the_start(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with process(MODULE, "--port", "0", "--metrics-port", "0", "--model", str(tmp_path)) as running:
        errors = running.communicate(timeout=TIMEOUT)[1].splitlines()
        assert running.returncode == 1
        assert "the model could not be loaded" in json.loads(errors[-1])["msg"]


def test_no_compiler_and_no_other_program_is_needed():
    with process(MODULE, "--port", "0", "--metrics-port", "0", PATH="/nonexistent") as running:
        assert generate(serving_port(running), max_tokens=3)[-1] == "finished"


def test_the_process_exits_with_1_when_the_engine_ends():
    with process(FAILING, "--port", "0", "--metrics-port", "0") as running:
        port = serving_port(running)
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as caught:
                generate(port)
            assert dict(caught.value.trailing_metadata())["reason"] == "STEP_FAILED"
        assert running.wait(TIMEOUT) == 1


def test_a_runtime_configuration_that_cannot_be_used_is_one_clear_line_and_exit_code_1(tmp_path):
    for content in (None, "ttft_accelerator: 3"):
        path = tmp_path / f"{content}.yaml"
        if content is not None:
            path.write_text(content)
        with process(MODULE, "--port", "0", "--metrics-port", "0", "--runtime-config", str(path)) as running:
            errors = running.communicate(timeout=TIMEOUT)[1].splitlines()
            assert running.returncode == 1
            assert errors[0].startswith("mlx-worker: the runtime configuration cannot be used")
