"""Takes in what people type at the ceremony's terminal, seen or unseen.

What is secret is taken only where the terminal stops showing it, and typing ahead does not count.
"""

import os
import re
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from kms.errors import Abandoned, ConfigurationError

_PASTED = re.compile(r"\x1b\[20[01]~")
"""What terminals put around a text that is pasted."""
_LFLAG = 3
_LONGEST = 4096


class Keyboard:
    """A terminal's keys; raise ConfigurationError if it is none."""

    def __init__(self, source: TextIO) -> None:
        if not source.isatty():
            raise ConfigurationError(
                "there is no terminal to type on",
                hint="a ceremony is held at a terminal: input and output are not redirected",
            )
        self._descriptor = source.fileno()

    def line(self) -> str:
        """Return one line without what a paste puts around it; raise Abandoned at the end."""
        typed = bytearray()
        while not typed.endswith(b"\n") and len(typed) < _LONGEST:
            byte = os.read(self._descriptor, 1)
            if not byte:
                raise Abandoned("the terminal was closed")
            typed += byte
        return _PASTED.sub("", typed.decode("utf-8", "replace")).strip()

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """Show nothing of what is typed, and forget what was typed before."""
        before = termios.tcgetattr(self._descriptor)
        quiet = termios.tcgetattr(self._descriptor)
        quiet[_LFLAG] &= ~termios.ECHO
        try:
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, quiet)
            yield
        finally:
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, before)
