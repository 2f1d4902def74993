"""Liveness and readiness by name, and the HTTP port that shows them beside the metrics."""

from __future__ import annotations

import functools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from mlx_worker.engine.engine import Engine
from mlx_worker.lifecycle import Lifecycle

# A step that takes longer than this means that the device hangs; the process must be started anew.
STUCK_AFTER_SECONDS = 30.0


class Health:
    """Reads only; may be called from any thread."""

    def __init__(self, engine: Engine, lifecycle: Lifecycle) -> None:
        self._engine = engine
        self._lifecycle = lifecycle

    def live(self) -> tuple[int, dict[str, object]]:
        """200 while the engine's thread runs and gets on, else 503."""
        alive = self._engine.alive and self._engine.seconds_in_step() < STUCK_AFTER_SECONDS
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


class OperationsServer:
    """Answers GET /metrics, /health/live and /health/ready in threads of its own."""

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
                else:
                    self.answer_json(404, {"error": "There is /metrics, /health/live and /health/ready."})

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
