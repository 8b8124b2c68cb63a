"""Reads the documents: fenced blocks with the remark that stands before them, links, headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("*/README.md"),
                *ROOT.glob("tests/*/README.md")])  # fmt: skip

_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]*) -->\n)?^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block; ``reason`` says why it is not run, if it is not."""

    language: str
    who: str
    text: str
    reason: str

    @property
    def script(self) -> str:
        """The commands: all lines of ``sh``, those behind a prompt of ``console``."""
        lines = self.text.splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return "\n".join(lines)


def blocks(page: Path) -> list[Block]:
    found = []
    for match in _FENCE.finditer(page.read_text("utf-8")):
        language, _, who = match["info"].partition(" ")
        found.append(Block(language, who, match["text"], match["reason"] or ""))
    return found


def commands(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in {"sh", "console"}]


def links(page: Path) -> Iterator[str]:
    """Where a page points to within the project."""
    for target in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))):
        if "://" not in target:
            yield target


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as they are made by hosts of Git repositories."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
