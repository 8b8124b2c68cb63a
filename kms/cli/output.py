"""What a command prints: results to stdout, everything else to stderr.

On a terminal results are tables; elsewhere they are tab-separated lines without colour. With
--json a result is one document with sorted keys, the same on a terminal and in a pipe.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kms.domain.text import visible
from kms.errors import ConclaveError
from kms.i18n import Language, _, fill, language

Row = Mapping[str, Any]

_GAP = 2
"""Blanks between two columns."""
_BETWEEN = re.compile(r"[^\t\n]+")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, the field of the document that it shows, and how."""

    heading: str
    field: str
    show: Callable[[Any], str] = str


class Output:
    """The one place that writes to the terminal."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self._json, self._quiet = as_json, quiet
        self._out = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._err = Console(file=sys.stderr, highlight=False, soft_wrap=True)

    def document(self, document: Any, text: str) -> None:
        """Print a result whose plain form is a text."""
        if self._json:
            _write(_json(document))
        else:
            _write(_lines(text.rstrip("\n")))

    def table(
        self, document: Any, rows: Sequence[Row], columns: Sequence[Column], *, empty: str = ""
    ) -> None:
        """Print a result whose plain form is a table of ``rows``; ``empty`` says that it has none.

        On a terminal that is too narrow each row is a block of its own, a line for each field.
        """
        if self._json:
            _write(_json(document))
            return
        cells = [[_cell(row, column) for column in columns] for row in rows]
        headings = [_(column.heading) for column in columns]
        if not self._out.is_terminal:
            _write("\n".join("\t".join(line) for line in [headings, *cells]))
        elif not cells:
            self.note(empty or _("There are none."))
        elif _width([headings, *cells]) > self._out.width:
            for number, line in enumerate(cells):
                self._out.print("\n" * (number > 0), end="")
                self._fields(headings, line)
        else:
            self._columns(headings, cells)

    def _columns(self, headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in headings:
            table.add_column(heading)
        for line in cells:
            table.add_row(*map(escape, line))
        self._out.print(table, soft_wrap=False)

    def record(self, document: Any, row: Row, columns: Sequence[Column]) -> None:
        """Print a result whose plain form is one line for each field."""
        headings = [_(one.heading) for one in columns]
        values = [_cell(row, one) for one in columns]
        if self._json:
            _write(_json(document))
        elif not self._out.is_terminal:
            _write("\n".join(map("\t".join, zip(headings, values, strict=True))))
        else:
            self._fields(headings, values)

    def _fields(self, headings: Sequence[str], values: Sequence[str]) -> None:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")  # an id that is cut short is of no use
        for heading, value in zip(headings, values, strict=True):
            table.add_row(f"[bold]{escape(heading)}[/]", escape(value))
        self._out.print(table, soft_wrap=False)

    def note(self, text: str) -> None:
        """Say something that is not a result; --quiet leaves it out."""
        if not self._quiet:
            self.to_sign(text)

    def to_sign(self, text: str) -> None:
        """Show what somebody is about to sign, also with --quiet: nobody signs unseen."""
        self._err.print(escape(_lines(text)))

    def banner(self, text: str) -> None:
        """Say what must not be overlooked, also with --quiet."""
        if text:
            self._err.print(f"[bold black on yellow] {escape(visible(text))} [/]")

    def problem(self, error: ConclaveError) -> None:
        """Print an error: what, what to do next, and its stable code."""
        if self._json:
            fields = {"code": error.code, "detail": error.message, "hint": error.hint}
            print(_json({"error": fields}), file=sys.stderr)  # noqa: T201 -- the output module
            return
        headline = fill(error.source, error.about)
        if language() is not Language.EN and headline == error.message:
            headline = f"{summary(error)} {error.message}"
        self._err.print(f"[bold red]{_('error')}[/] {escape(_lines(f'[{error.code}] {headline}'))}")
        if error.hint:
            self._err.print(f"[bold]{_('hint')}[/] {escape(_lines(fill(error.next, error.about)))}")

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int], None]]:
        """Yield a function that shows how many are done; silent unless stderr is a terminal."""
        if self._quiet or self._json or not self._err.is_terminal:
            yield lambda _count: None
            return
        with self._err.status(escape(what)) as status:
            yield lambda count: status.update(escape(f"{what} {count}"))

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[int, str], None]]:
        """Yield a function that shows how far something is, in percent and in a word; silent unless
        stderr is a terminal that can show it.
        """
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415 -- for orders alone

        if self._quiet or self._json or not self._err.is_interactive:
            yield lambda _percent, _word: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        with Progress(*columns, console=self._err, transient=True) as progress:
            task = progress.add_task(escape(visible(what)), total=100)

            def tell(percent: int, word: str) -> None:
                text = escape(visible(f"{what}: {word}"))
                progress.update(task, completed=percent, description=text, refresh=True)

            yield tell


def summary(error: ConclaveError) -> str:
    """Return what an error's code means, in the present language."""
    if type(error) is ConclaveError:
        return _("A fault in Conclave itself.")
    return _(first_line(type(error)))


def first_line(kind: type) -> str:
    """Return the first sentence of a class's description."""
    return (kind.__doc__ or "").partition("\n")[0]


def moment(seconds: int | None) -> str:
    """Return whole seconds since 1970 as RFC 3339 UTC, or a dash."""
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def word(value: str) -> str:
    """Return a state, kind or reason in the present language."""
    return _(value)


def reason(value: str) -> str:
    """Return why an epoch was minted; a meeting's state has the same word "open"."""
    return _("opened") if value == "open" else word(value)


def yes_no(value: bool) -> str:
    """Return a truth value as a word."""
    return _("yes") if value else _("no")


def say_unlisted(output: Output, spaces: Sequence[str]) -> None:
    """Say which spaces an overview leaves out, since nobody can ask their tokens."""
    for space in spaces:
        told = _("{space} is sealed or out of the configuration, and not listed.")
        output.note(told.format(space=space))


def _cell(row: Row, column: Column) -> str:
    value = row.get(column.field)
    text = "-" if value is None else column.show(value)
    return visible(text.replace("\t", " ").replace("\n", " "))


def _width(lines: Sequence[Sequence[str]]) -> int:
    """Return how wide a table of these lines is."""
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    return sum(widths) + _GAP * (len(widths) - 1)


def _lines(text: str) -> str:
    """Return a text with nothing in it that a terminal would obey but tabs and new lines."""
    return _BETWEEN.sub(lambda found: visible(found[0]), text)


def _json(document: Any) -> str:
    return _lines(json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True))


def _write(text: str) -> None:
    print(text, flush=True)  # noqa: T201 -- the one place that prints results
