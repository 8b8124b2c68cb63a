"""init, serve, status, hsm: the service itself."""

import getpass
import json
import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli.exits import Exit
from kms.cli.output import Column, Output, word
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.domain.alerts import Severity
from kms.errors import ConfigurationError, Sealed
from kms.hardening import harden
from kms.i18n import _
from kms.logs import configure

if TYPE_CHECKING:
    from kms.cli.pins import Prompt
    from kms.client.api import Client
    from kms.settings import Settings

_PLACES = (
    Column("Site", "site"),
    Column("Configuration", "config"),
    Column("PINs", "pins"),
    Column("Site root", "site_root"),
    Column("Escrow shares", "shares"),
)
_ENDPOINTS = (
    Column("Unix socket", "socket"),
    Column("Mutual TLS", "tls"),
    Column("Board", "board"),
)
_STATUS = (
    Column("Site", "site"),
    Column("Spaces", "spaces"),
    Column("Key operations", "key_operations", word),
    Column("Leaves in the log", "tree_size"),
    Column("Leaves under a checkpoint", "checkpoint_size"),
    Column("Workers", "workers"),
    Column("Alerts", "alerts"),
    Column("Channels", "channels"),
)
_UNKNOWN_OF_A_SEALED_BOX = ("tree_size", "checkpoint_size", "alerts")
"""What the service answers 0 for, having nothing open to look at."""
_TOKENS = (
    Column("Token", "token"),
    Column("Space", "space"),
    Column("Manufacturer", "manufacturer"),
    Column("Model", "model"),
    Column("Serial", "serial"),
    Column("Module", "module_version"),
    Column("Worker", "worker_pid"),
    Column("Objects", "objects"),
)


def add(app: typer.Typer) -> None:
    """Add the commands."""
    register(app, "init", init)
    register(app, "serve", serve)
    register(app, "status", status)
    hsm = group("The HSM behind the service.")
    register(hsm, "info", hsm_info)
    app.add_typer(hsm, name="hsm")


def init(
    session: Session,
    practice: Annotated[
        Path | None, typer.Option(help="Folder of the practice site to make, on SoftHSM.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete the practice site that is there and start over.")
    ] = False,
) -> None:
    """Make a practice site: tokens, keys, escrow shares, certificates, configuration."""
    if practice is None:
        raise ConfigurationError(
            "a real site is founded by a key ceremony of its people",
            hint="conclave ceremony plan new initialise-site writes its plan; "
            "--practice DIR makes a site for practice",
        )
    from kms.practice import PracticeSite, init_practice  # noqa: PLC0415 -- heavy

    existed = PracticeSite(practice.absolute(), "").config.exists() and not fresh
    if not existed:
        session.output.note(_("Making keys and certificates takes some seconds."))
    site = init_practice(practice, fresh=fresh)
    session.output.banner(site.banner)
    if existed:
        session.output.note(_("The site is there already; nothing was changed."))
    places = {
        "site": site.site_id,
        "config": str(site.config),
        "pins": str(site.pins),
        "site_root": str(site.site_root),
        "shares": str(site.shares),
    }
    session.output.record(places, places, _PLACES)
    command = shlex.join(["conclave", "--config", str(site.config), "serve", "--pin-fd", "3"])
    start = f"{command} 3< {shlex.quote(str(site.pins))}"
    session.output.note(_("Next, run the service: {command}").format(command=start))


def serve(
    session: Session,
    pin_fd: Annotated[
        int | None, typer.Option(help="File descriptor that holds the PIN document.")
    ] = None,
) -> None:
    """Run the service until it is told to stop.

    PINs come from --pin-fd or from the systemd credential conclave-pins, both a JSON object
    {"token": "PIN"}, or else from a hidden prompt for each token. Those of sealed tokens are not
    asked for.
    """
    from kms.cli.serving import take_pins_of  # noqa: PLC0415 -- for this command alone
    from kms.supervisor import Supervisor  # noqa: PLC0415 -- for this command alone

    harden()
    settings = session.settings()
    pins = take_pins_of(settings, pin_fd, _prompt())
    configure("supervisor", settings.log.format, settings.log.level)
    say = logging.getLogger("kms.supervisor").warning
    supervisor = Supervisor(session.config_path(), settings, pins, say)
    code = supervisor.run(lambda: _announce(session.output, settings))
    if code:
        # What went wrong stands above; only a child's own word that it is final is passed on.
        raise typer.Exit(code if code == Exit.CONFIGURATION else Exit.UNAVAILABLE)


def _prompt() -> "Prompt | None":
    if not sys.stdin.isatty():
        return None
    return lambda token: getpass.getpass(_("PIN of token {token}: ").format(token=token))


def _announce(output: Output, settings: "Settings") -> None:
    """Say where callers connect, the port that was really given included."""
    output.banner(settings.site.banner)
    where = json.loads((settings.paths.run / "endpoints.json").read_text(encoding="utf-8"))
    tls = where.get("tls")
    row = {
        "socket": where["socket"],
        "tls": tls and f"https://{tls['address']}:{tls['port']}",
        "board": where.get("board"),
    }
    output.record(where, row, _ENDPOINTS)


def status(session: Session) -> None:
    """Show the state of the log, the workers and key operations.

    Exit code 3 if people have to do something: a critical alert is active, or a space or the whole
    box is sealed. Of a sealed box nobody knows what its log and alerts say: a dash stands for that.
    """
    with session.client() as client:
        document = client.status().model_dump(mode="json")
        grave = document["alerts"] and _critical(client)
    session.output.banner(document["banner"])
    whole_box = document["key_operations"] == Sealed.code
    if whole_box:
        session.output.banner(_("The whole box is sealed."))
    states = document["workers"].items()
    workers = ", ".join(f"{token}: {word(state)}" for token, state in states)
    channels = ", ".join(f"{name}: {word(state)}" for name, state in document["channels"].items())
    row = {**document, "workers": workers, "channels": channels or None}
    if whole_box:
        row.update(dict.fromkeys(_UNKNOWN_OF_A_SEALED_BOX))
    session.output.record(document, row, _STATUS)
    if grave or Sealed.code in document["workers"].values():
        raise typer.Exit(Exit.ATTENTION)


def _critical(client: "Client") -> bool:
    return any(one.severity is Severity.CRITICAL for one in client.alerts().items)


def hsm_info(session: Session) -> None:
    """Show what each token says of itself."""
    with session.client() as client:
        document = client.tokens().model_dump(mode="json")
    rows = [_token_row(token) for token in document["items"]]
    session.output.table(document, rows, _TOKENS)


def _token_row(token: dict[str, Any]) -> dict[str, Any]:
    return {**token, "space": token["space"] or "-", "objects": len(token["objects"])}
