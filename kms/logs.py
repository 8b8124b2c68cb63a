"""Log lines of every process, to stderr: one JSON object each, or text. Never a body, a header, an
envelope or a PIN.
"""

import json
import logging
import sys
import time
from typing import Literal

_EXTRA = ("uid",)
_QUIET = ("alembic", "asyncio", "uvicorn.access", "httpx2", "httpcore2")
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

Form = Literal["json", "text"]
Level = Literal["info", "warning", "error"]


class JsonLines(logging.Formatter):
    """Writes time, level, process, logger, message and, of an exception, its traceback."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in _EXTRA if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(process: str, form: Form = "json", level: Level = "info") -> None:
    """Send every log line of this process to stderr; ``process`` is ``web``, ``supervisor`` or
    ``worker`` with its token.
    """
    text = logging.Formatter(f"{process}: %(levelname)s %(message)s")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process) if form == "json" else text)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(_LEVELS[level])
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").propagate = False
