"""The ceremony's terminal, played at a pseudo-terminal."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from kms.cli.cards import Printer
from kms.errors import ConfigurationError
from kms.hardening import lies_in_memory

ROOT = Path(__file__).parents[2]
WORDS = " ".join(["academic"] * 33)
MEMORY = Path("/dev/shm")

_PLAY = """
import os, sys
from pathlib import Path
from kms.ceremonies.ports import ShareCard, SharedSecret, ShareGroup
from kms.cli.cards import Printer
from kms.cli.console import Terminal
from kms.errors import ConclaveError
from kms.i18n import Language, speak

speak(Language.EN)
WORDS = {words!r}
CARD = ShareCard("bank", SharedSecret.ESCROW, 2, 1, ShareGroup("security", 3, 5), 3,
                 "wang", "王芳", "a1b2c3d4", WORDS)
try:
    terminal = Terminal(sys.stdin, sys.stdout{printer})
    {play}
    print("WELL")
except ConclaveError as error:
    print("ENDED", error.code)
"""


def hear_interrupts() -> None:
    """A test run in the background hands its deafness to SIGINT on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Player:
    """A person at the terminal."""

    def __init__(self, play: str, printer: str = "") -> None:
        code = _PLAY.format(words=WORDS, play=play, printer=printer)
        self.child = pexpect.spawn(
            sys.executable, ["-c", code], encoding="utf-8", timeout=20, cwd=str(ROOT),
            env={**os.environ, "TERM": "xterm"}, dimensions=(40, 160),
            preexec_fn=hear_interrupts,
        )  # fmt: skip
        self.child.delaybeforesend = None

    def sees(self, text: str) -> str:
        self.child.expect_exact(text)
        return self.child.before

    def types(self, line: str) -> None:
        self.child.sendline(line)

    def ends(self, text: str) -> str:
        self.child.expect_exact(text)
        before = self.child.before
        self.child.expect(pexpect.EOF)
        return before


# --- confirming ----------------------------------------------------------------------------------


def test_it_goes_on_once_the_phrase_is_typed() -> None:
    player = Player("terminal.confirm('chen', 'destroy treasury', 'The space is destroyed.')")
    player.sees("The space is destroyed.")
    player.sees("⌨ chen: To go on, type: destroy treasury")
    player.types("destroy banking")
    player.sees("That is not the phrase.")
    player.types("destroy treasury")
    player.ends("WELL")


def test_three_other_lines_end_the_ceremony() -> None:
    player = Player("terminal.confirm('chen', 'destroy treasury', 'x')")
    for _try in range(3):
        player.sees("To go on, type")
        player.types("yes")
    player.ends("ENDED ceremony_abandoned")


def test_a_terminal_that_is_closed_ends_the_ceremony() -> None:
    player = Player("terminal.ask('chen', 'The bag?')")
    player.sees("The bag?")
    player.child.sendeof()
    player.ends("ENDED ceremony_abandoned")


# --- taking shares in ----------------------------------------------------------------------------


def take(*lines: str) -> tuple[str, str]:
    """What a share comes to that is typed in these lines, and what the terminal showed."""
    player = Player("print('TAKEN', repr(terminal.take_words('wang', 'Your share:')))")
    shown = player.sees("⌨ wang: Your share:")
    for line in lines:
        player.types(line)
        if line != lines[-1]:
            shown += player.sees("words so far")
    shown += player.sees("TAKEN '")
    player.sees("'")
    return player.child.before, shown


def test_words_are_taken_unseen() -> None:
    taken, shown = take(WORDS)
    assert taken == WORDS
    assert "academic" not in shown


@pytest.mark.parametrize(
    "lines",
    [
        (f"\x1b[200~{WORDS}\x1b[201~",),
        (WORDS.upper().replace(" ", "   "),),
        (" ".join(["academic"] * 11), " ".join(["academic"] * 11), " ".join(["academic"] * 11)),
    ],
    ids=["pasted", "scanned in capitals", "typed in three lines"],
)
def test_words_may_be_pasted_scanned_or_typed_in_lines(lines: tuple[str, ...]) -> None:
    taken, shown = take(*lines)
    assert taken == WORDS
    assert "cademic" not in shown.lower()


def test_an_empty_line_ends_a_share_that_is_too_short() -> None:
    assert take("academic acid", "")[0] == "academic acid"


# --- handing cards out ---------------------------------------------------------------------------


def test_a_card_on_the_screen_is_cleared_with_what_scrolled_off() -> None:
    player = Player("terminal.give_card(CARD)")
    player.sees("⌨ wang: Press Enter once you alone")
    player.types("")
    player.sees("\x1b[?1049h")
    shown = player.sees("Press Enter once you have your share card")
    assert shown.count("academic") == 33
    assert "share 3 of 5, 3 needed" in shown
    player.types("")
    player.sees("\x1b[2J\x1b[3J\x1b[?1049l")
    assert "academic" not in player.ends("WELL")


def test_a_card_is_cleared_from_the_screen_when_the_terminal_is_interrupted() -> None:
    player = Player("terminal.give_card(CARD)")
    player.sees("Press Enter once you alone")
    player.types("")
    player.sees("Press Enter once you have your share card")
    player.child.sendintr()
    player.sees("\x1b[2J\x1b[3J\x1b[?1049l")


@pytest.fixture
def memory() -> Iterator[Path]:
    if not MEMORY.is_dir() or not lies_in_memory(MEMORY):
        pytest.skip("this machine has no folder in memory")
    folder = MEMORY / f"conclave-cards-{os.getpid()}"
    folder.mkdir(mode=0o700)
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_a_card_in_a_folder_in_memory_is_its_holders_for_a_moment(memory: Path) -> None:
    printer = f", Printer(Path({str(memory)!r}), accept_swap=True)"
    player = Player("terminal.give_card(CARD)", printer)
    player.sees("Press Enter once you alone")
    assert list(memory.iterdir()) == []
    player.types("")
    shown = player.sees("Press Enter once you have your share card")
    (path,) = memory.iterdir()
    assert path.name == "escrow-security-3.pdf"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().startswith(b"%PDF-")
    player.types("")
    assert "academic" not in shown + player.ends("WELL")
    assert list(memory.iterdir()) == []


def test_a_card_that_is_there_already_is_neither_replaced_nor_wiped(memory: Path) -> None:
    (memory / "escrow-security-3.pdf").write_bytes(b"another")
    player = Player("terminal.give_card(CARD)", f", Printer(Path({str(memory)!r}))")
    player.sees("Press Enter once you alone")
    player.types("")
    player.sees("FileExistsError")
    assert (memory / "escrow-security-3.pdf").read_bytes() == b"another"


def test_cards_are_not_printed_to_a_disk(tmp_path: Path) -> None:
    if lies_in_memory(tmp_path):
        pytest.skip("the folder for temporary files lies in memory here")
    with pytest.raises(ConfigurationError, match="is not a folder in memory"):
        Printer(tmp_path)
    with pytest.raises(ConfigurationError, match="does not exist"):
        Printer(tmp_path / "none")


def test_a_printers_device_gets_the_card_and_nothing_is_left(tmp_path: Path) -> None:
    pipe = tmp_path / "printer"
    os.mkfifo(pipe)
    player = Player("terminal.give_card(CARD)", f", Printer(Path({str(pipe)!r}))")
    player.sees("Press Enter once you alone")
    player.types("")
    assert pipe.read_bytes().startswith(b"%PDF-")
    player.types("")
    player.ends("WELL")


# --- where it refuses ----------------------------------------------------------------------------


@pytest.mark.parametrize("redirected", ["< /dev/null", "| cat"])
def test_a_ceremony_is_not_held_where_input_or_output_are_redirected(redirected: str) -> None:
    code = _PLAY.format(words=WORDS, play="terminal.give_card(CARD)", printer="")
    command = f'{sys.executable} -c "$CODE" {redirected}'
    child = pexpect.spawn(
        "/bin/sh", ["-c", command], encoding="utf-8", timeout=20, cwd=str(ROOT),
        env={**os.environ, "CODE": code},
    )  # fmt: skip
    child.expect_exact("ENDED configuration_error")
    assert "academic" not in child.before


def test_progress_is_one_line_that_ends_when_the_work_does() -> None:
    player = Player("[terminal.progress('rewrapped', n, 10000) for n in range(10001)]")
    shown = player.ends("WELL")
    assert "rewrapped 10000/10000" in shown
    assert shown.count("rewrapped") < 100
    assert shown.count("\n") == 1
