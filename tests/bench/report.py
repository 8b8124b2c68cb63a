"""Turns rounds of measurements into a table, Markdown and JSON: medians, and ratios by round."""

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Round = dict[str, float]
"""Figures of one round, by name."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a figure, and how it compares with another of the same round.

    ``required`` and ``goal`` bound the ratio; from below, or from above if ``lower``.
    """

    text: str
    figure: str
    unit: str
    base: str = ""
    required: float | None = None
    goal: float | None = None
    lower: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """A line with its medians; ``ratio`` is None for a figure without a base."""

    line: Line
    median: float
    least: float
    most: float
    ratio: float | None

    @property
    def verdict(self) -> str:
        """``goal``, ``required`` or ``MISSED``; empty for a figure that is only shown."""
        line, ratio = self.line, self.ratio
        if ratio is None or (line.goal is None and line.required is None):
            return ""
        if line.goal is not None and _holds(ratio, line.goal, lower=line.lower):
            return "goal"
        if line.required is not None and _holds(ratio, line.required, lower=line.lower):
            return "required"
        return "MISSED"

    def cells(self) -> tuple[str, ...]:
        """Return the line's cells as text."""
        line = self.line
        sign = "<=" if line.lower else ">="
        bounds = [
            f"{sign} {bound:g} {word}"
            for bound, word in ((line.required, "required"), (line.goal, "goal"))
            if bound is not None
        ]
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} of {line.base}"
        spread = f"{_number(self.least)} to {_number(self.most)}"
        return (
            line.text,
            _number(self.median),
            line.unit,
            spread,
            ratio,
            ", ".join(bounds),
            self.verdict,
        )


HEADINGS = ("what", "median", "unit", "spread", "ratio", "asked", "met")


def results(lines: Sequence[Line], rounds: Sequence[Round]) -> list[Result]:
    """Return one result for each line that was measured in every round."""
    found = []
    for line in lines:
        if not all(line.figure in one for one in rounds):
            continue
        values = [one[line.figure] for one in rounds]
        ratio = None
        if line.base and all(line.base in one for one in rounds):
            ratio = statistics.median(one[line.figure] / one[line.base] for one in rounds)
        found.append(Result(line, statistics.median(values), min(values), max(values), ratio))
    return found


def show(found: Sequence[Result]) -> None:
    """Print the table."""
    table = Table(*HEADINGS)
    for one in found:
        table.add_row(*one.cells())
    Console(width=None if os.isatty(1) else 160).print(table)


def markdown(found: Sequence[Result], rounds: int) -> str:
    """Return the table for the documentation, with what it was measured on."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(one.cells() for one in found)]
    facts = "; ".join(f"{name} {value}" for name, value in machine().items())
    title = (
        f"Measured {time.strftime('%Y-%m-%d', time.gmtime())}, median of {rounds} rounds. {facts}."
    )
    return "\n".join([title, "", *("| " + " | ".join(row) + " |" for row in rows), ""])


def as_json(found: Sequence[Result], rounds: Sequence[Round]) -> dict[str, Any]:
    """Return everything that was measured."""
    lines = [
        {"figure": r.line.figure, "median": r.median, "unit": r.line.unit}
        | {"base": r.line.base, "ratio": r.ratio, "met": r.verdict}
        for r in found
    ]
    return {"machine": machine(), "lines": lines, "rounds": list(rounds)}


def machine() -> dict[str, str]:
    """Return versions and hardware that the figures depend on."""
    versions = {
        name: importlib.metadata.version(name) for name in ("uvicorn", "uvloop", "httptools")
    }
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    cores = f"{len(os.sched_getaffinity(0))} x {models[0] if models else platform.machine()}"
    return versions | {"Python": platform.python_version(), "cores": cores}


def _holds(ratio: float, bound: float, *, lower: bool) -> bool:
    return ratio <= bound if lower else ratio >= bound


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
