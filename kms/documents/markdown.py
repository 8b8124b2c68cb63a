"""Sets a paper as Markdown. What is typed has lines of its own: ``⌨ who: what: `exact```."""

from collections.abc import Iterator, Sequence

from kms.documents.paper import (
    Block,
    Heading,
    Move,
    Paper,
    Paragraph,
    Points,
    SignatureLines,
    Source,
    Table,
    Typed,
)

KEYS = "⌨"
_TYPED = f"- {KEYS} "


def render_markdown(paper: Paper, *, level: int = 1) -> str:
    """Return a paper as Markdown, its title a heading of ``level``."""
    text, before = "#" * level + f" {_text(paper.title)}", ""
    for part in (part for block in paper.blocks for part in _block(block, level)):
        listed = part.startswith(_TYPED) and before.startswith(_TYPED)
        text, before = f"{text}\n{'' if listed else chr(10)}{part}", part
    return f"{text}\n"


def _block(block: Block, above: int) -> Iterator[str]:
    match block:
        case Heading(level, text):
            yield "#" * (above + level) + f" {_text(text)}"
        case Paragraph(text, grave):
            yield f"> **{_text(text)}**" if grave else _text(text)
        case Points(texts, numbered):
            yield "\n".join(
                f"{f'{count}.' if numbered else '-'} {_text(text)}"
                for count, text in enumerate(texts, 1)
            )
        case Table(headings, rows):
            yield _table(headings or ("",) * len(rows[0]), rows)
        case Typed():
            yield _typed(block)
        case Move(number, who, text, typed):
            yield f"**{number}** {_text(who)}: {_text(text)}"
            if typed:
                yield "\n".join(map(_typed, typed))
        case Source(text, language):
            yield f"```{language}\n{text.rstrip()}\n```"
        case SignatureLines(names, date):
            dated = f" {_text(date)}: __________" if date else ""
            yield "\n".join(f"- {_text(name)}: ____________________{dated}" for name in names)


def _typed(typed: Typed) -> str:
    exact = f": `{typed.exact}`" if typed.exact else ""
    return f"{_TYPED}{typed.who}: {_text(typed.what)}{exact}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|").replace("\n", " ")


def _text(text: str) -> str:
    """Return a text in which only backquotes mean anything."""
    plain = [part if index % 2 else _escaped(part) for index, part in enumerate(text.split("`"))]
    return "`".join(plain)


def _escaped(text: str) -> str:
    for mark in "\\*<[#":
        text = text.replace(mark, f"\\{mark}")
    return text
