"""A worker that is stuck, killed or cannot start, and who starts it again."""

from __future__ import annotations

import io
import itertools
import os
import signal
import socket
import sys
import types
from pathlib import Path

import grpc
import psutil
import pytest
from test_process import MODULE, TIMEOUT, process, serving_port

from mlx_worker import supervisor as supervisor_module
from mlx_worker.gen.mlx_serving.v1 import worker_pb2 as wpb
from mlx_worker.gen.mlx_serving.v1 import worker_pb2_grpc as wgrpc
from mlx_worker.logs import Logger
from mlx_worker.supervisor import MOST_EARLY_ENDS, Supervisor
from mlx_worker.watchdog import STUCK_EXIT_CODE, Watchdog

STUCK = [
    "-c",
    "import mlx_worker.blas; mlx_worker.blas.ensure_blas();"
    "from mlx_worker.engine.forward import Forward; import threading;"
    "Forward.last_logits = lambda *arguments: threading.Event().wait();"
    "from mlx_worker.main import main; main()",
]


def test_the_watchdog_ends_a_process_whose_step_does_not_end():
    ended: list[int] = []
    seconds = [0.0]
    watchdog = Watchdog(lambda: seconds[0], 5.0, Logger("error", io.StringIO()), ended.append)
    assert not watchdog.look()
    seconds[0] = 5.0
    assert watchdog.look()
    assert ended == [STUCK_EXIT_CODE]


def test_a_stuck_worker_ends_with_its_code():
    with process(STUCK, "--port", "0", "--metrics-port", "0", "--stuck-after-ms", "1000") as running:
        port = serving_port(running)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stream = wgrpc.WorkerStub(channel).Generate(wpb.WorkerGenerateRequest(prompt="A flag"))
            with pytest.raises(grpc.RpcError):
                list(stream)
        assert running.wait(TIMEOUT) == STUCK_EXIT_CODE


def test_the_supervisor_starts_a_killed_worker_again_and_stops_with_it():
    with process(MODULE, "--supervise", "--port", "0", "--metrics-port", "0") as running:
        first = serving_port(running)
        with grpc.insecure_channel(f"127.0.0.1:{first}") as channel:
            stats = next(iter(wgrpc.WorkerStub(channel).Stats(wpb.StatsRequest())))
        assert (stats.restarts, stats.pid == running.pid) == (0, False)
        os.kill(stats.pid, signal.SIGKILL)
        with grpc.insecure_channel(f"127.0.0.1:{serving_port(running)}") as channel:
            again = next(iter(wgrpc.WorkerStub(channel).Stats(wpb.StatsRequest())))
            assert again.restarts == 1
            assert list(wgrpc.WorkerStub(channel).Generate(wpb.WorkerGenerateRequest(prompt="A flag")))
        running.send_signal(signal.SIGTERM)
        assert running.wait(TIMEOUT) == 0


def worker_behind(running) -> tuple[wpb.StatsResponse, int]:
    """Statistics of the worker that a supervisor has started, and its port."""
    port = serving_port(running)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return next(iter(wgrpc.WorkerStub(channel).Stats(wpb.StatsRequest()))), port


SUPERVISED = ["--supervise", "--port", "0", "--metrics-port", "0"]


def test_the_supervisor_kills_a_worker_that_hangs_as_a_whole_and_starts_it_again():
    with process(MODULE, *SUPERVISED, "--stuck-after-ms", "5000") as running:
        before, _ = worker_behind(running)
        os.kill(before.pid, signal.SIGSTOP)
        after, _ = worker_behind(running)
        assert after.restarts > before.restarts
        assert after.pid != before.pid
        running.send_signal(signal.SIGTERM)
        assert running.wait(TIMEOUT) == 0


def test_a_worker_ends_with_its_supervisor_so_that_its_ports_are_free():
    with process(MODULE, *SUPERVISED) as running:
        stats, port = worker_behind(running)
        orphan = psutil.Process(stats.pid)
        running.kill()
        gone, _ = psutil.wait_procs([orphan], TIMEOUT)
        assert gone == [orphan]
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))


def test_the_supervisor_passes_a_bad_option_on():
    with process(MODULE, "--supervise", "--max-batch", "0") as running:
        assert running.wait(TIMEOUT) == 2


@pytest.fixture
def a_clock_of_hours(monkeypatch):
    """To the supervisor each life lasts an hour, and no pause takes any time. The signals are put back."""
    hours = itertools.count(0.0, 3600.0)
    clock = types.SimpleNamespace(monotonic=lambda: next(hours), sleep=lambda seconds: None)
    monkeypatch.setattr(supervisor_module, "time", clock)
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    yield
    for name, handler in before.items():
        signal.signal(name, handler)


def supervised(tmp_path: Path, program: str) -> tuple[int, int, str]:
    """The exit code, how often the program ran, and the log. The program knows its run's number."""
    runs, log = tmp_path / "runs", io.StringIO()
    count = f"import os, sys; open({str(runs)!r}, 'a').write('x'); runs = os.path.getsize({str(runs)!r})"
    command = [sys.executable, "-S", "-c", f"{count}\n{program}"]
    return Supervisor(command, Logger("info", log), TIMEOUT).run(), runs.stat().st_size, log.getvalue()


def test_the_supervisor_gives_up_a_worker_that_never_serves_however_long_its_start_takes(
    tmp_path, a_clock_of_hours
):
    code, runs, log = supervised(tmp_path, "sys.exit(3 if runs < 20 else 0)")
    assert (code, runs) == (3, MOST_EARLY_ENDS)
    assert "keeps ending at its start" in log


def test_the_supervisor_goes_on_with_a_worker_that_serves_however_short_its_life_is(
    tmp_path, a_clock_of_hours
):
    beat = "os.write(int(os.environ['MLX_SERVING_WORKER_HEARTBEAT_FD']), b'.')"
    code, runs, _ = supervised(tmp_path, f"{beat}; sys.exit(3 if runs < 8 else 0)")
    assert (code, runs) == (0, 8)
