"""Writes the reference parts of docs from the code itself.

``python -m kms.cli.reference docs`` brings them up to date; a test checks that they are.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from kms.ceremonies.catalogue import CEREMONIES
from kms.ceremonies.paper.handbook_whole import whole_handbook
from kms.cli.app import build
from kms.cli.exits import EXIT_BY_CODE, MEANINGS, Exit
from kms.cli.options import PANEL
from kms.cli.output import first_line
from kms.cli.reference_tables import (
    alerts_reference,
    between,
    operations_reference,
    settings_reference,
)
from kms.errors import ConclaveError
from kms.i18n import Language, _, speak
from kms.policy.source import Shipped
from kms.wire.statuses import STATUS

MARK = "<!-- From here on written by: python -m kms.cli.reference docs -->\n"


def cli_reference() -> str:
    """Return exit codes, global options and every command as Markdown."""
    speak(Language.EN)
    root = get_command(build())
    lines = ["## Exit codes", "", "| code | meaning |", "|---|---|"]
    lines += [f"| {int(code)} | {MEANINGS[code]} |" for code in Exit]
    lines += ["", "[Error codes](errors.md) says which error ends with which code.", ""]
    lines += ["## Global options", "", "They stand before or behind a command's name.", ""]
    lines += _options([one for one in _params(root) if one.rich_help_panel == PANEL])
    lines += ["The root alone has these:", ""]
    lines += _options([one for one in _params(root) if one.rich_help_panel != PANEL])
    lines += ["## Commands", ""]
    for path, command in _commands(root, "conclave"):
        lines += _command(path, command)
    return "\n".join(lines).rstrip("\n") + "\n"


def errors_reference() -> str:
    """Return every error code with its meaning, HTTP status and exit code as Markdown."""
    lines = ["| code | meaning | 含义 | HTTP | exit |", "|---|---|---|---|---|"]
    for kind in error_classes():
        text = "A fault in Conclave itself." if kind is ConclaveError else first_line(kind)
        speak(Language.ZH)
        meaning = _(text)
        status, code = STATUS.get(kind.code, "-"), EXIT_BY_CODE[kind.code]
        lines.append(f"| `{kind.code}` | {text} | {meaning} | {status} | {int(code)} |")
    return "\n".join(lines) + "\n"


def error_classes(root: type[ConclaveError] = ConclaveError) -> Iterator[type[ConclaveError]]:
    """Yield the errors that have stable codes, the root first."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == ConclaveError.__module__:
            yield from error_classes(child)


def policies_reference() -> str:
    """Return the access policies that come with Conclave as Markdown."""
    lines = ["| policy | effect | stands in |", "|---|---|---|"]
    lines += [f"| `{one.id}` | {one.effect} | `{one.source}` |" for one in Shipped.load().policies]
    return "\n".join(lines) + "\n"


def handbook_reference(language: Language) -> str:
    """Return the handbook of key ceremonies as Markdown."""
    speak(language)
    return whole_handbook(CEREMONIES)


def updated(text: str, reference: str) -> str:
    """Return a document with its written part kept and the rest made anew."""
    head, mark, _old = text.partition(MARK)
    if not mark:
        raise ValueError("the document has no mark")
    return f"{head}{mark}\n{reference}"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            yield from _commands(child, f"{path} {name}")
        else:
            yield f"{path} {name}", child


def _command(path: str, command: Any) -> Iterator[str]:
    own = [one for one in _params(command) if one.rich_help_panel != PANEL and one.name != "help"]
    arguments = [one for one in own if one.param_type_name == "argument"]
    options = [one for one in own if one.param_type_name == "option"]
    words = [
        f"{one.name.upper()}" if one.required else f"[{one.name.upper()}]" for one in arguments
    ]
    yield from (f"### {path}", "", f"`{' '.join([path, *words, '[OPTIONS]'])}`", "")
    yield from (command.help, "")
    if arguments:
        yield from ("| argument | meaning |", "|---|---|")
        yield from (f"| {one.name.upper()} | {one.help} |" for one in arguments)
        yield ""
    if options:
        yield from _options(options)


def _options(options: list[Any]) -> Iterator[str]:
    yield from ("| option | meaning |", "|---|---|")
    for one in options:
        names = ", ".join(f"`{name}`" for name in one.opts)
        remarks = ["required"] if one.required else []
        remarks += [f"or {one.envvar}"] if one.envvar else []
        remark = f" ({', '.join(remarks)})" if remarks else ""
        yield f"| {names} | {one.help}{remark} |"
    yield ""


def _params(command: Any) -> list[Any]:
    """Return the parameters with their help, as the command shows them."""
    return list(command.get_params(command.context_class(command)))


DOCUMENTS: dict[str, Callable[[str], str]] = {
    "cli.md": lambda text: updated(text, cli_reference()),
    "errors.md": lambda text: updated(text, errors_reference()),
    "api.md": lambda text: between(text, operations_reference()),
    "settings.md": lambda text: between(text, settings_reference()),
    "monitoring.md": lambda text: between(text, alerts_reference()),
    "policy.md": lambda text: between(text, policies_reference()),
    "handbook.zh.md": lambda _text: handbook_reference(Language.ZH),
    "handbook.en.md": lambda _text: handbook_reference(Language.EN),
}
"""How each document is made from the one that is there."""


def main(folder: Path) -> None:
    """Bring the documents up to date."""
    for name, renew in DOCUMENTS.items():
        path = folder / name
        path.write_text(renew(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
