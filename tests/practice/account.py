"""The readable account of the main job: what happened, which guarantee it shows, the figures."""

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

BANNER = "PRACTICE / 演练"


class Account:
    """Writes to the terminal and keeps the figures for a report file."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._begun = time.monotonic()
        self._steps = 0
        self.figures: dict[str, Any] = {}
        self.broken: list[str] = []

    def title(self) -> None:
        self._console.rule(f"[bold yellow]{BANNER}[/] · Conclave")

    def step(self, zh: str, en: str) -> None:
        self._steps += 1
        elapsed = time.monotonic() - self._begun
        self._console.print(f"\n[bold]{self._steps}. {zh}[/] [dim]{elapsed:.1f} s[/]")
        self.say(en)

    def say(self, text: str) -> None:
        self._console.print(f"   {text}", soft_wrap=True)

    def holds(self, guarantee: str, *, shown: bool) -> None:
        """A guarantee and whether it was seen to hold; the job fails in the end if not."""
        mark = "[green]✔[/]" if shown else "[bold red]✘[/]"
        self._console.print(f"   {mark} {guarantee}")
        if not shown:
            self.broken.append(guarantee)

    def table(self, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
        table = Table(*columns, box=None, padding=(0, 2), pad_edge=True)
        for row in rows:
            table.add_row(*map(str, row))
        self._console.print(table)

    def close(self, path: Path) -> bool:
        """Write the report file; return whether every guarantee held."""
        self.figures |= {"seconds": time.monotonic() - self._begun, "broken": self.broken}
        path.write_text(json.dumps(self.figures, indent=2) + "\n")
        verdict = "[bold red]not every guarantee held[/]" if self.broken else "[green]all held[/]"
        self._console.print(f"\n[bold]{BANNER}[/]: {verdict}; figures in {path}", soft_wrap=True)
        return not self.broken
