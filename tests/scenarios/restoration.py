"""A site whose HSM has burned: what is left of it, and the plan that brings it back."""

import base64
import json
import shutil
import sqlite3
import tomllib

from kms.audit.merkle import CompactRange, leaf_hash
from kms.practice import PracticeSite

_CLASSES = {"investment-banking": "roster"}
"""Release classes of a scenario's spaces; all others are ``trusted``."""


def burn(site: PracticeSite) -> None:
    """Lose every token; what remains is the database, the state directory and empty slots."""
    tokens = site.softhsm.parent / "tokens"
    shutil.rmtree(tokens)
    tokens.mkdir(mode=0o700)


def restore_parameters(site: PracticeSite) -> str:
    """Return the parameters of a plan that restores everything, as officers read them from the
    site's database and compare with the auditor's checkpoint.
    """
    size, root, recipients = _look(site)
    anchor = json.dumps(site.device_ca.read_text())
    tokens = tomllib.loads(site.config.read_text())["hsm"]["tokens"]
    spaces = [one["space"] for one in tokens if "space" in one]
    text = f'[parameters.log]\nsize = {size}\nroot = "{root}"\n'
    for space in spaces:
        release = _CLASSES.get(space, "trusted")
        text += f'[[parameters.spaces]]\nspace = "{space}"\nrelease_class = "{release}"\n'
    for one in recipients:
        text += (
            f'[[parameters.recipients]]\nspace = "{one["space"]}"\nkind = "{one["kind"]}"\n'
            f'name = "{one["name"]}"\nrecipient = "{one["recipient"]}"\n'
        )
    text += (
        '[[parameters.anchors]]\nspace = "investment-banking"\nname = "practice-device-ca"\n'
        f"certificate = {anchor}\n"
    )
    return text


def _look(site: PracticeSite) -> tuple[int, str, list[dict[str, str]]]:
    """Return size and root of the log, and the registered servers, as the database has them."""
    with sqlite3.connect(f"file:{site.state / 'conclave.db'}?mode=ro", uri=True) as database:
        bodies = [row[0] for row in database.execute("SELECT body FROM recipient")]
        leaves = [row[0] for row in database.execute("SELECT body FROM leaf ORDER BY seq")]
    tree = CompactRange()
    for body in leaves:
        tree.append(leaf_hash(body))
    rows = [json.loads(body) for body in bodies]
    return (
        len(tree),
        base64.b64encode(tree.root()).decode(),
        [
            {**row, "kind": _kind(row)}
            for row in rows
            if row["kind"] in {"server", "recorder"} and not row["revoked"]
        ],
    )


def _kind(row: dict[str, str]) -> str:
    roster = _CLASSES.get(row["space"]) == "roster" and row["kind"] == "server"
    return "roster-authority" if roster else row["kind"]
