"""Runs the programs of docs/examples and talks to them in JSON lines."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
MEDIA_MODULE = "tests.practice.media"


class Example:
    """One running example; a context manager that stops it. ``seen`` keeps every line."""

    def __init__(self, name: str, arguments: Sequence[str | Path]) -> None:
        self.name, self.seen = name, list[dict[str, Any]]()
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.do("stop")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def do(self, what: str, **details: Any) -> None:
        """Give a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what, **details}) + "\n")
        self.process.stdin.flush()

    def expect(self, event: str, timeout: float = 20, **details: Any) -> dict[str, Any]:
        """Return the next line of this event with these details; other lines are passed over."""
        while True:
            try:
                line = self._lines.get(timeout=timeout)
            except queue.Empty:
                raise TimeoutError(f"{self.name} did not say {event}: {self.seen}") from None
            if line is None:
                raise RuntimeError(f"{self.name} ended before it said {event}: {self.seen}")
            if line["event"] == event and details.items() <= line.items():
                return line

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            line: dict[str, Any] = json.loads(text)
            self.seen.append(line)
            self._lines.put(line)
        self._lines.put(None)
