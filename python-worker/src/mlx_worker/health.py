"""Liveness and readiness by name, and the HTTP port that shows them beside the metrics."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from mlx_worker.engine.engine import Engine
from mlx_worker.engine.request import GenerationRequest
from mlx_worker.engine.scheduler import Priority
from mlx_worker.engine.token_stream import TokenStream
from mlx_worker.errors import ServiceError
from mlx_worker.lifecycle import Lifecycle
from mlx_worker.sampling import SamplingOptions

DEEP_TIMEOUT_SECONDS = 10.0


class Health:
    """Reads only; may be called from any thread."""

    def __init__(self, engine: Engine, lifecycle: Lifecycle, stuck_after_seconds: float) -> None:
        self._engine = engine
        self._stuck_after_seconds = stuck_after_seconds
        self._loop = asyncio.get_running_loop()
        self._lifecycle = lifecycle

    def live(self) -> tuple[int, dict[str, object]]:
        """200 while the engine's thread runs and gets on, else 503."""
        alive = self._engine.alive and self._engine.seconds_in_step() < self._stuck_after_seconds
        return (200, {"status": "live"}) if alive else (503, {"status": "engine stopped or stuck"})

    def ready(self) -> tuple[int, dict[str, object]]:
        """200 when a new request would be taken, else 503; each check is `ok` or says what is missing."""
        model = self._lifecycle.model
        closed = self._lifecycle.draining or self._lifecycle.stopping.is_set()
        checks = {
            "engine": "ok" if self.live()[0] == 200 else "stopped or stuck",
            "model": "loading" if model is None else "ok",
            "admission": "draining" if closed else "ok",
        }
        ready = set(checks.values()) == {"ok"}
        body: dict[str, object] = {"status": "ready" if ready else "not ready", "checks": checks}
        if model is not None:
            body["model"] = model.id
        return (200 if ready else 503), body

    def deep(self) -> tuple[int, dict[str, object]]:
        """200 when the engine has just generated a token, else 503. Not for the event loop's thread."""
        started = time.monotonic()
        try:
            asyncio.run_coroutine_threadsafe(self._generate_token(), self._loop).result(DEEP_TIMEOUT_SECONDS)
        except Exception as error:
            reason = error.reason if isinstance(error, ServiceError) else "no token in time"
            return 503, {"status": "no token", "reason": reason}
        return 200, {"status": "ok", "ms": round((time.monotonic() - started) * 1000, 1)}

    async def _generate_token(self) -> None:
        model = self._lifecycle.model_named("")
        request = GenerationRequest(
            "health",
            [min(1, model.vocabulary - 1)],
            SamplingOptions(max_tokens=1),
            TokenStream(4),
            model=model.id,
            priority=Priority.INTERACTIVE,
        )
        self._engine.submit(request)
        try:
            await asyncio.wait_for(request.stream.read(), DEEP_TIMEOUT_SECONDS)
        finally:
            self._engine.cancel(request)
        if isinstance(request.stream.end, ServiceError):
            raise request.stream.end


class OperationsServer:
    """Answers GET /metrics, /health/live, /health/ready and /health/deep in threads of its own."""

    def __init__(self, host: str, port: int, health: Health, registry: CollectorRegistry) -> None:
        """Binds at once. Raises OSError when the port is taken."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.split("?", 1)[0]
                if path == "/metrics":
                    self.answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif path == "/health/live":
                    self.answer_json(*health.live())
                elif path == "/health/ready":
                    self.answer_json(*health.ready())
                elif path == "/health/deep":
                    self.answer_json(*health.deep())
                else:
                    known = "/metrics, /health/live, /health/ready and /health/deep"
                    self.answer_json(404, {"error": f"There is {known}."})

            def answer_json(self, status: int, body: dict[str, object]) -> None:
                self.answer(status, "application/json", json.dumps(body).encode())

            def answer(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", content_type)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                """Scrapes are not logged."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise OSError(f"metrics port {port} is in use or not allowed") from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        """Answers from now on."""
        serve = functools.partial(self._server.serve_forever, poll_interval=0.1)
        threading.Thread(target=serve, name="operations", daemon=True).start()

    def stop(self) -> None:
        """Closes the port."""
        self._server.shutdown()
        self._server.server_close()
