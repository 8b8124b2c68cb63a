"""The documents hang together: links lead somewhere, examples load, nothing private is told."""

import re
import subprocess
from pathlib import Path

import pytest

from kms import settings
from kms.cli.reference import DOCUMENTS
from kms.i18n import Language, speak
from tests.docs.pages import DOCS, PAGES, ROOT, anchors, blocks, links

PRIVATE = re.compile(r"/(work|root|home/\w+)/", re.IGNORECASE)
"""Paths of one machine."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_what_is_there(page: Path) -> None:
    for link in links(page):
        place, _, fragment = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_the_index_names_every_page(page: Path) -> None:
    index = DOCS / "README.md"
    assert page == index or page.name in set(links(index))


def test_the_vectors_page_names_every_file_of_vectors() -> None:
    page = (ROOT / "tests" / "vectors" / "README.md").read_text("utf-8")
    files = list(ROOT.glob("tests/vectors/*.json"))
    assert files
    for path in files:
        assert f"| `{path.name}` |" in page


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_written_from_the_code_is_current(name: str) -> None:
    text = (DOCS / name).read_text("utf-8")
    try:
        assert text == DOCUMENTS[name](text), "run: python -m kms.cli.reference docs"
    finally:
        speak(Language.ZH)


def test_the_example_of_a_configuration_loads_and_names_every_table(tmp_path: Path) -> None:
    (block,) = [block for block in blocks(DOCS / "settings.md") if block.language == "toml"]
    path = tmp_path / "conclave.toml"
    path.write_text(block.text)
    loaded = settings.load(path)
    assert loaded.api.tls
    assert {token.space for token in loaded.hsm.tokens} == {"", "treasury"}
    tables = set(re.findall(r"^### (\[.*\])$", (DOCS / "settings.md").read_text(), re.MULTILINE))
    assert tables == set(re.findall(r"^(\[.*\])$", block.text, re.MULTILINE)) - {
        "[hsm.environment]"
    }


def test_the_unit_starts_the_service_with_its_credential() -> None:
    unit = (ROOT / "image/units/conclave.service").read_text()
    assert "ExecStart=/usr/local/bin/conclave serve\n" in unit
    assert "LoadCredentialEncrypted=conclave-pins\n" in unit
    assert "RestartPreventExitStatus=78\n" in unit


def test_nothing_that_is_tracked_tells_of_the_machine_it_was_written_on() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
        if path != Path(__file__) and (found := PRIVATE.search(text)):
            told.append((name, found[0]))
    assert not told
