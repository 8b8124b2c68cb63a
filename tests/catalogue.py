"""Keeps the message catalogue: collects the source texts, updates the .po file, compiles the .mo.

``python -m tests.catalogue`` after a text was changed; then translate what it lists.
"""

import ast
import io
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

import appliance
import kms
from kms.audit.leaf import Outcome
from kms.ceremonies.catalogue import CEREMONIES
from kms.ceremonies.ceremony import Ceremony
from kms.ceremonies.kinds.unseal import Unsealed
from kms.ceremonies.paper.handbook import CARRIES, DUTIES
from kms.ceremonies.paper.sample import example_brief
from kms.ceremonies.people.signing import What
from kms.ceremonies.record.standing import Stage
from kms.ceremonies.record.transcript import Result
from kms.cli.exits import MEANINGS
from kms.cli.reference import error_classes
from kms.domain.alerts import Severity
from kms.domain.approvals import RULES
from kms.domain.approvals import Standing as RequestStanding
from kms.domain.coverage import Lack
from kms.domain.disks import DiskState, OrderKind, OrderState, Preparation, Work
from kms.domain.models import RecipientKind, ReleaseClass, Role, RotationReason
from kms.domain.passkeys import Purpose
from kms.domain.people import CredentialKind, Part, Standing
from kms.domain.score import EvidenceKind
from kms.domain.states import KeyState, MeetingState
from kms.i18n import CATALOGUES, DOMAIN, LOCALE_DIR, Language
from kms.statements.sealing import BOX
from kms.usecases.grants import Flag, GrantState

SOURCE = Path(kms.__file__).parent
APPLIANCE = Path(appliance.__file__).parent
PO = LOCALE_DIR / CATALOGUES[Language.ZH] / "LC_MESSAGES" / f"{DOMAIN}.po"
MO = PO.with_suffix(".mo")

_HEADER = "# Simplified Chinese texts of Conclave. Kept by: python -m tests.catalogue"
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Stands for every date, so that the same texts give the same files."""

WORDS = (
    Role,
    KeyState,
    Lack,
    MeetingState,
    ReleaseClass,
    RecipientKind,
    Severity,
    RotationReason,
    Part,
    CredentialKind,
    Standing,
    Result,
    Stage,
    What,
    GrantState,
    Flag,
    RequestStanding,
    Purpose,
    EvidenceKind,
    DiskState,
    Work,
    Preparation,
    OrderKind,
    OrderState,
    Outcome,
)
"""Values that tables show as words."""

_MARKERS = frozenset({"_", "Column", "Line", "Lines", "group"})
"""Calls whose first argument is a text."""
_CERTIFIED = "Destroyed"
"""The call all of whose arguments are texts, unless they are computed."""
_KEYWORDS = frozenset({"help", "hint"})
"""Keyword arguments that are texts."""
_PATIENTS = (
    "bootstrap", "cli", "ceremonies", "documents", "settings", "audit/bundle.py",
    "audit/gathering.py", "client/transport.py", "client/keys.py", "domain", "policy", "reports",
    "statements/request.py", "statements/personal.py", "statements/passkeys.py",
    "statements/webauthn.py", "statements/register.py", "store", "usecases", "web",
)  # fmt: skip
"""Where texts and errors arise that people read in the terminal or on the board."""
_SAYING = frozenset(
    {"Action", "Outcome", "Word", "_refuse", "_refuse_unless", "append", "standing", "tell", "told"}
)
"""Calls of the appliance some of whose arguments are sentences; beside its errors."""
_SAID = frozenset(
    {"_STEPS", "_REGISTER", "_ADD_SLOT", "_ADD_RECOVERY", "_IN_USE", "reason", "steps"}
)
"""Names under which the appliance keeps sentences."""
_CONSTANTS = frozenset({"SUMMARY", "PANEL", "BACKUPS"})
"""Constants that are texts."""
_TABLES = (DUTIES, CARRIES)
"""Texts of handbooks that stand in tables."""


def source_texts() -> set[str]:
    """Return every text that is shown to people through the catalogue."""
    texts = {text for path in _files() for text in _of_file(path)}
    texts |= {text for path in sorted(SOURCE.rglob("*.html")) for text in _of_template(path)}
    texts |= {text for path in sorted(SOURCE.rglob("*.py")) for text in _hints(path)}
    texts |= {text for path in sorted(APPLIANCE.rglob("*.py")) for text in _of_appliance(path)}
    texts |= {
        error.__doc__.partition("\n")[0]
        for error in error_classes()
        if error.code != "internal_error"
    }
    texts |= {member.value for words in WORDS for member in words} | {"ready", "sealed", "erased"}
    texts |= {"permit", "forbid", "device-anchor"} | set(CEREMONIES)
    texts |= {one.name for rule in RULES.values() for one in fields(rule.parameters)}
    texts |= set(MEANINGS.values()) | {text for table in _TABLES for text in table.values()}
    texts |= {text for kind in CEREMONIES.values() for text in _of_ceremony(kind)}
    return texts | _typer_texts()


def _of_ceremony(kind: Ceremony) -> Iterator[str]:
    """What a kind's handbook says of it, and what its script says to people."""
    yield from (kind.title, kind.purpose)
    brief = example_brief(kind)
    others = (replace(brief, parameters=Unsealed(BOX)),) if kind.parameters is Unsealed else ()
    for section in chain.from_iterable(map(kind.script, (brief, *others))):
        yield section.text
        for step in section.steps:
            yield from (step.text, *(ask.what for ask in step.asks))


def _files() -> Iterator[Path]:
    for name in _PATIENTS:
        path = SOURCE / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _of_template(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for _line, _function, message, _comments in babel_extract(file, ("_",), (), {}):
            if isinstance(message, str):
                yield message


def _of_file(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    commands = set(_commands(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _of_call(node)
        elif isinstance(node, ast.FunctionDef) and node.name in commands:
            yield ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in _CONSTANTS:
            yield node.value.value


def _of_call(node: ast.Call) -> Iterator[str]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if (name in _MARKERS or name in _ERROR_NAMES) and node.args:
        yield from _text(node.args[0])
    if name == _CERTIFIED:
        for argument in node.args:
            yield from _text(argument)
    for keyword in node.keywords:
        if keyword.arg in _KEYWORDS:
            yield from _text(keyword.value)


def _text(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value


def _hints(path: Path) -> Iterator[str]:
    """What errors of any layer tell people to do next."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for keyword in node.keywords if isinstance(node, ast.Call) else ():
            if keyword.arg == "hint":
                yield from _text(keyword.value)


def _of_appliance(path: Path) -> Iterator[str]:
    """What the appliance reports to people: the sentences in its errors, orders and devices."""
    yield from _hints(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in _SAYING | _ERROR_NAMES or name in _ERRORS_OF_APPLIANCE:
                for argument in (*node.args, *(one.value for one in node.keywords)):
                    yield from _sentences(argument)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(word in _SAID for one in targets for word in _names(one)):
                yield from (text for part in ast.walk(node.value) for text in _sentences(part))


def _names(target: ast.expr) -> Iterator[str]:
    yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


def _sentences(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
        yield node.value


def _commands(tree: ast.Module) -> Iterator[str]:
    """The names of the functions that a module registers as commands."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="register"), args=[_, _, ast.Name(id=name)]):
                yield name


def _typer_texts() -> set[str]:
    """The few texts of Typer that it asks gettext for, and its own options' help."""
    import typer

    found = {
        "Show this message and exit.",
        "Install completion for the current shell.",
        "Show completion for the current shell, to copy it or customize the installation.",
    }
    for name in ("core.py", "rich_utils.py"):
        found |= set(_of_file(Path(typer.__file__).parent / name))
    return found


_ERROR_NAMES = frozenset(error.__name__ for error in error_classes())
_ERRORS_OF_APPLIANCE = frozenset(
    {"DeviceChanged", "DiskBusy", "HeaderRefused", "NoDeviceMapper", "ProgramFailed"}
)


def read_catalogue() -> Catalog:
    """Return the catalogue as it is in the .po file."""
    if not PO.exists():
        return Catalog(locale="zh_CN", domain=DOMAIN)
    with PO.open("rb") as file:
        return read_po(file, locale="zh_CN", domain=DOMAIN)


def compiled(catalogue: Catalog) -> bytes:
    """Return the .mo file of a catalogue."""
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def main() -> int:
    """Update both files; return 1 while a translation is missing."""
    old, texts = read_catalogue(), source_texts()
    new = Catalog(locale="zh_CN", domain=DOMAIN, header_comment=_HEADER, fuzzy=False)
    new.creation_date = new.revision_date = _EPOCH
    for text in sorted(texts):
        known = old.get(text)
        new.add(text, known.string if known else "")
    PO.parent.mkdir(parents=True, exist_ok=True)
    with PO.open("wb") as file:
        write_po(file, new, width=96, sort_output=True)
    MO.write_bytes(compiled(new))
    missing = [message.id for message in new if message.id and not message.string]
    for text in missing:
        print(f"without translation: {text}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
