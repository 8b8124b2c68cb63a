"""What the plan of a restoration has to name, as store and ceremonies' records have it. Without the
tokens nothing of it can be checked: officers compare it with the auditor's checkpoint and lists.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

from kms.bootstrap.clock import SystemClock
from kms.ceremonies.record.folder import CEREMONIES, TRANSCRIPT, Folder
from kms.domain.ids import SpaceName
from kms.domain.models import Recipient, RecipientKind, ReleaseClass, Space
from kms.errors import StoreUnavailable
from kms.settings import Settings
from kms.statements.canonical import read_row
from kms.store.lock import WriterBusy
from kms.store.sqlite import SqliteStore

_ANCHOR = "device-anchor"
_REGISTERED = (RecipientKind.SERVER, RecipientKind.RECORDER)


def restoration_parameters(settings: Settings) -> str:
    """Return the parameters (TOML) of a restoration of everything; raise StoreUnavailable while
    the service runs.
    """
    try:
        store = SqliteStore.open(settings.paths.database, SystemClock())
    except WriterBusy as error:
        raise StoreUnavailable(
            "the service runs: a site is restored when its tokens are lost",
            hint="stop the service first",
        ) from error
    with closing(store):
        size = store.tree_size()
        head = {"size": size, "root": base64.b64encode(store.root(size)).decode()}
        tables = [*_spaces(store), *_recipients(store)]
    return "\n".join(["[parameters.log]\n" + _fields(head), *tables, *_anchors(settings)])


def _living(store: SqliteStore) -> list[Space]:
    records = [cast("Space", read_row(one.row)) for one in store.spaces()]
    return [one for one in records if not one.destroyed]


def _spaces(store: SqliteStore) -> Iterator[str]:
    for one in _living(store):
        yield _table("spaces", {"space": one.space, "release_class": one.release_class})


def _recipients(store: SqliteStore) -> Iterator[str]:
    for space in _living(store):
        for row in store.recipients(SpaceName(space.space)):
            one = cast("Recipient", read_row(row.row))
            if one.kind in _REGISTERED and not one.revoked:
                kind = one.kind if space.release_class is ReleaseClass.TRUSTED else _AUTHORITY
                named = {"space": one.space, "kind": kind, "name": one.name}
                yield _table("recipients", {**named, "recipient": one.recipient})


_AUTHORITY = "roster-authority"


def _anchors(settings: Settings) -> Iterator[str]:
    """Yield the device anchors that ceremonies registered and none revoked since."""
    found: dict[tuple[str, str], str] = {}
    folders = [
        Folder(path.parent)
        for path in (settings.paths.state / CEREMONIES).glob(f"[!.]*/{TRANSCRIPT}")
    ]
    for folder in sorted(folders, key=lambda one: one.request().issued):
        file = folder.plan().file
        wanted = file.parameters
        if wanted.get("kind") != _ANCHOR:
            continue
        place = str(wanted["space"]), str(wanted["name"])
        if file.ceremony == "register-recipient":
            found[place] = str(wanted["public_key"])
        else:
            found.pop(place, None)
    for (space, name), certificate in found.items():
        yield _table("anchors", {"space": space, "name": name, "certificate": certificate})


def _table(name: str, fields: dict[str, Any]) -> str:
    return f"[[parameters.{name}]]\n{_fields(fields)}"


def _fields(fields: dict[str, Any]) -> str:
    """Return fields as TOML; JSON spells strings and numbers the same way."""
    return "".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields.items()
    )
