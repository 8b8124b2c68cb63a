"""The tables of docs/api.md and docs/settings.md, from the operations and the settings themselves.

They stand between two marks, so that the documents go on behind them.
"""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from kms.domain.alerts import ALERTS, Alert
from kms.domain.models import Role
from kms.operations import COMMON_ERRORS, OPERATIONS, Operation
from kms.settings import Settings
from kms.strict import Section

BEGIN = "<!-- Written by: python -m kms.cli.reference docs -->\n"
END = "<!-- End of what is written. -->\n"

_KINDS: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    Path | None: "path",
}


def between(text: str, reference: str) -> str:
    """Return a document with what stands between its marks made anew."""
    head, begin, rest = text.partition(BEGIN)
    _old, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError("the document has no marks")
    return f"{head}{begin}\n{reference}\n{end}{tail}"


# --- operations -----------------------------------------------------------------------------------


def operations_reference() -> str:
    """Return every operation with its roles, meeting states and own errors as Markdown."""
    common = ", ".join(f"`{code}`" for code in COMMON_ERRORS)
    lines = [f"Every operation can also answer {common}.", ""]
    lines += ["| operation | request | roles | meeting | further errors |", "|---|---|---|---|---|"]
    lines += map(_operation, OPERATIONS.values())
    return "\n".join(lines) + "\n"


def _operation(operation: Operation) -> str:
    everyone = operation.roles == frozenset(Role)
    roles = "every role" if everyone else ", ".join(sorted(operation.roles))
    states = ", ".join(sorted(operation.states)) or "-"
    errors = ", ".join(f"`{code}`" for code in operation.errors) or "-"
    key = " (Idempotency-Key)" if operation.creates else ""
    request = f"`{operation.method} {operation.path}`{key}"
    return (
        f"| `{operation.id}`: {operation.summary_en} | {request} | {roles} | {states} | {errors} |"
    )


# --- alerts ---------------------------------------------------------------------------------------


def alerts_reference() -> str:
    """Return the catalogue of alerts as Markdown."""
    head = "| alert | severity | raised from | subject | cleared after | means | what to do |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    lines += [_alert(name, alert) for name, alert in ALERTS.items()]
    return "\n".join(lines) + "\n"


def _alert(name: str, alert: Alert) -> str:
    after = f"{alert.calm // 60} minutes quiet" if alert.calm else "at once"
    raised = f"{alert.threshold} {alert.counts}"
    return (
        f"| `{name}` | {alert.severity} | {raised} | {alert.subject} | {after} "
        f"| {alert.en} | {alert.todo_en} |"
    )


# --- settings -------------------------------------------------------------------------------------


def settings_reference() -> str:
    """Return every key of the configuration with type, default and meaning as Markdown."""
    return "\n".join(_tables(Settings, "")).rstrip("\n") + "\n"


def _tables(section: type[msgspec.Struct], name: str) -> Iterator[str]:
    fields = msgspec.structs.fields(section)
    meanings = _meanings(section)
    keys = [field for field in fields if _section(field.type) is None]
    if keys:
        yield from (f"### {name}", "", inspect.cleandoc(section.__doc__ or ""), "")
        yield from ("| key | type | default | meaning |", "|---|---|---|---|")
        for field in keys:
            kind, default = _kind(field.type), _default(field)
            yield f"| `{field.name}` | {kind} | {default} | {meanings[field.name]} |"
        yield ""
    for field in fields:
        inner = _section(field.type)
        if inner is not None:
            yield from _tables(inner, _table_name(name, field))


def _table_name(outer: str, field: msgspec.structs.FieldInfo) -> str:
    path = ".".join(filter(None, [outer.strip("[]"), field.name]))
    return f"[[{path}]]" if get_origin(field.type) is tuple else f"[{path}]"


def _section(kind: Any) -> type[msgspec.Struct] | None:
    """Return the table that a type holds: itself, one or none, or several."""
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            return one
    return None


def _meanings(section: type[msgspec.Struct]) -> dict[str, str]:
    """Return the sentence that stands below each key in the source, inherited keys included."""
    found: dict[str, str] = {}
    for one in section.__mro__:
        if issubclass(one, Section) and one is not Section:
            found = {**_own_meanings(one), **found}
    return found


def _own_meanings(section: type) -> dict[str, str]:
    tree = ast.parse(inspect.getsource(section))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef))
    found: dict[str, str] = {}
    for pair in pairwise(body):
        match pair:
            case (ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(ast.Constant(str(said)))):
                found[key] = said
    return found


def _kind(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        inner, bounds = get_args(kind)
        return ", ".join([_kind(inner), *_bounds(bounds)])
    if get_origin(kind) is tuple:
        return f"list of {_plural(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return "table of strings"
    return _KINDS.get(kind) or ", ".join(f'"{word}"' for word in _words(kind))


def _words(kind: Any) -> tuple[str, ...]:
    """Return the words of a closed choice."""
    return get_args(kind) if get_origin(kind) is Literal else tuple(kind)


def _plural(kind: type) -> str:
    if issubclass(kind, Role):
        return ", ".join(f'"{role}"' for role in Role)
    return f"{_KINDS[kind]}s"


def _bounds(meta: msgspec.Meta) -> Iterator[str]:
    if meta.pattern is not None:
        yield f"`{meta.pattern}`"
    if meta.gt is not None:
        yield f"above {meta.gt:g}"
    if meta.ge is not None:
        yield f"from {meta.ge:g}"
    if meta.le is not None:
        yield f"to {meta.le:g}"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default
    if value is msgspec.NODEFAULT:
        return "empty"
    return f"`{value}`" if value not in ("", (), None) else "empty"
