"""Printed documents: what is on them, that nothing on them acts, that nothing of them stays."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kms.ceremonies.ports import ShareCard, SharedSecret, ShareGroup
from kms.documents import press as press_module
from kms.documents.card import card_data, share_card
from kms.documents.paper import Heading, Move, Paper, Paragraph, Points, Source, Table, Typed
from kms.documents.pdf import paper_data, render_pdf
from kms.documents.press import drawings
from kms.errors import ConfigurationError

MADE = 1_790_000_000
SHORT, LONG = 20, 33


def card(count: int = LONG, display: str = "王芳") -> ShareCard:
    words = " ".join(f"word{'abcdefghijklmnopqrstuvwxyz'[n % 26] * 3}" for n in range(count))
    return ShareCard(
        "bank", SharedSecret.ESCROW, 2, 1, ShareGroup("security", 3, 5), 3, "wang-security",
        display, "a1b2c3d4", words,
    )  # fmt: skip


def paper(*blocks: object, title: str = "标题") -> Paper:
    return Paper(title, "手册", "bank", blocks)


def pages(document: bytes) -> int:
    """How many pages a PDF says that it has."""
    return max(int(found) for found in re.findall(rb"/Count (\d+)", document))


def ink(data: dict[str, object], template: str = "card") -> int:
    """How much is drawn on the pages of a document."""
    return sum(page.count(b"<use") for page in drawings(template, data, MADE))


@pytest.mark.parametrize("count", [SHORT, LONG])
def test_a_share_card_is_one_page_of_archivable_pdf(count: int) -> None:
    document = share_card(card(count), MADE)
    assert document.startswith(b"%PDF-")
    assert b"pdfaid:part" in document
    assert b"pdfuaid:part" in document
    assert pages(document) == 1


def test_equal_cards_give_equal_bytes() -> None:
    assert share_card(card(), MADE) == share_card(card(), MADE)
    assert share_card(card(), MADE) != share_card(card(), MADE + 1)


def test_a_card_shows_every_word_name_and_number() -> None:
    data = card_data(card())
    whole = ink(data)
    for field in ("site", "group", "holder", "display", "fingerprint"):
        assert ink({**data, field: ""}) < whole, field
    words = [*card().words.split()]
    for at in range(len(words)):
        assert ink({**data, "words": [*words[:at], "", *words[at + 1 :]]}) < whole, at


def test_the_code_on_a_card_holds_the_words_with_single_blanks() -> None:
    one = card()
    spaced = ShareCard(**{**_fields(one), "words": one.words.replace(" ", "  ")})
    assert card_data(spaced)["qr"] == card_data(one)["qr"]
    other = ShareCard(**{**_fields(one), "words": one.words[:-1] + "z"})
    assert card_data(other)["qr"] != card_data(one)["qr"]


def _fields(one: ShareCard) -> dict[str, object]:
    return {name: getattr(one, name) for name in ShareCard.__slots__}


def test_the_words_are_in_no_repr_of_a_card() -> None:
    assert "wordaaa" not in repr(card())


def test_text_from_elsewhere_is_text_and_never_markup() -> None:
    nasty = '#read("card.typ") *a* $x$ @b <c> \\ // = [ ] " \' #panic()'
    blocks = (
        Heading(1, nasty), Paragraph(nasty, grave=True), Points((nasty,)), Source(nasty),
        Table((nasty,), ((nasty,),)), Move("1", nasty, nasty, (Typed(nasty, nasty, nasty),)),
    )  # fmt: skip
    data = paper_data(paper(*blocks, title=nasty))
    plain = paper_data(paper(*blocks, title="x" * len(nasty)))
    visible = len(nasty.replace(" ", "")) - 1
    assert abs(ink(data, "paper") - ink(plain, "paper")) < visible
    assert pages(share_card(card(display=nasty), MADE)) == 1


def test_long_papers_go_on_overleaf() -> None:
    steps = [Move(f"1.{n}", "王芳", "输入分片", (Typed("wang", "单词"),)) for n in range(60)]
    assert pages(render_pdf(paper(*steps), MADE)) > 2


def test_a_character_that_no_font_has_is_an_error_and_no_box() -> None:
    with pytest.raises(ConfigurationError) as caught:
        share_card(card(display="\U00013000"), MADE)
    assert "fonts-noto-cjk" in caught.value.hint
    assert "word" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__!r}"


def test_a_fault_of_a_template_blames_no_font() -> None:
    with pytest.raises(ConfigurationError) as caught:
        press_module.press("card", {}, MADE)
    assert "defect" in caught.value.hint


def test_missing_fonts_are_said_with_the_package_that_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    press_module._fonts.cache_clear()
    monkeypatch.setattr(press_module, "FAMILIES", ("No Such Font",))
    with pytest.raises(ConfigurationError, match="No Such Font") as caught:
        share_card(card(), MADE)
    assert "apt-get install fonts-noto-cjk" in caught.value.hint
    press_module._fonts.cache_clear()


_WATCHED = """
import resource, sys
from tests.unit.test_documents import MADE, card
from kms.documents.card import share_card
share_card(card(), MADE)
# From here on not one byte can go to any file.
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
print(len(share_card(card(20), MADE)))
"""


def test_setting_a_card_writes_to_no_file(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = {
        "PATH": "/usr/bin:/bin", "PYTHONPATH": str(root), "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-c", _WATCHED], cwd=tmp_path, env=environment, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 10_000
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_setting_a_card_opens_no_file_to_write(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    code = "import tests.unit.test_documents as t; t.share_card(t.card(), t.MADE)"
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=open,openat,creat,memfd_create,socket", "-o", trace,
         sys.executable, "-B", "-c", code],
        cwd=Path(__file__).parents[2], check=True, timeout=120,
    )  # fmt: skip
    lines = trace.read_text().splitlines()
    assert any("NotoSansCJK" in line for line in lines)
    written = [line for line in lines if re.search(r"O_WRONLY|O_RDWR|O_CREAT|creat\(|memfd", line)]
    assert [line for line in written if "/dev/" not in line and "ENOENT" not in line] == []
    assert not any("AF_INET" in line for line in lines)
