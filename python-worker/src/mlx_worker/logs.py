"""JSON lines on standard error. A prompt is never logged, only its length and hash."""

from __future__ import annotations

import json
import sys
import traceback
from datetime import datetime, timezone
from typing import TextIO

LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40}


class Logger:
    """Writes one JSON object per line. A healthy worker logs no `error`."""

    def __init__(self, level: str = "info", stream: TextIO | None = None, **fields: object) -> None:
        self._least = LEVELS[level]
        self._stream = stream
        self._fields = fields

    def debug(self, message: str, **fields: object) -> None:
        """For whoever follows one request."""
        self._write("debug", message, fields)

    def info(self, message: str, **fields: object) -> None:
        """What happened, in normal service."""
        self._write("info", message, fields)

    def warn(self, message: str, **fields: object) -> None:
        """Something that somebody should look at in working hours."""
        self._write("warn", message, fields)

    def error(self, message: str, error: BaseException | None = None, **fields: object) -> None:
        """Something that somebody should look at now."""
        if error is not None:
            fields["error"] = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self._write("error", message, fields)

    def _write(self, level: str, message: str, fields: dict[str, object]) -> None:
        if LEVELS[level] < self._least:
            return
        time = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"level": level, "time": time, "service": "worker", **self._fields, **fields, "msg": message}
        stream = self._stream or sys.stderr
        stream.write(json.dumps(line, default=str) + "\n")
        stream.flush()
