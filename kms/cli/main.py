"""The entry point of ``conclave``: chooses the language, runs the command, ends with its code."""

import gettext
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise

from kms.cli.exits import Exit
from kms.i18n import CATALOGUES, DOMAIN, LOCALE_DIR, Language, speak

_TYPER_CODES = {1: Exit.INTERRUPTED, 2: Exit.USAGE}
"""Typer's own codes for an abandoned prompt (or closed pipe) and for a wrong command line."""


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code (kms.cli.exits)."""
    chosen = choose_language(arguments, os.environ)
    speak(chosen)
    _teach_typer(chosen)
    from kms.cli.app import build  # noqa: PLC0415 -- Typer reads the language when it is imported

    try:
        build()(args=list(arguments), prog_name="conclave")
    except SystemExit as ended:
        return _exit_code(ended.code)
    return Exit.OK


def choose_language(arguments: Sequence[str], environment: Mapping[str, str]) -> Language:
    """Return the language of a command line, whose texts are needed before it is parsed."""
    wanted = environment.get("CONCLAVE_LANG", "")
    for argument, following in pairwise([*arguments, ""]):
        if argument == "--":
            break
        if argument == "--lang":
            wanted = following
        elif argument.startswith("--lang="):
            wanted = argument.partition("=")[2]
    return Language(wanted) if wanted in set(Language) else Language.ZH


def _teach_typer(chosen: Language) -> None:
    """Let Typer find its own few texts in our catalogue: it asks the standard library's default
    domain, in the language of the environment.
    """
    os.environ["LANGUAGE"] = CATALOGUES[chosen]
    gettext.bindtextdomain(DOMAIN, LOCALE_DIR)
    gettext.textdomain(DOMAIN)


def _exit_code(code: object) -> int:
    if code is None:
        return Exit.OK
    return _TYPER_CODES.get(code, code) if isinstance(code, int) else Exit.INTERNAL


if __name__ == "__main__":
    main()
