"""init, serve, status, hsm: the service itself."""

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kms.cli.output import Column
from kms.cli.pins import Prompt, read_pins
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.errors import ConfigurationError
from kms.i18n import _

_STATUS = (
    Column("Site", "site"),
    Column("Spaces", "spaces"),
    Column("Key operations", "key_operations"),
    Column("Leaves in the log", "tree_size"),
    Column("Leaves under a checkpoint", "checkpoint_size"),
    Column("Workers", "workers"),
)
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
            "a real site is initialised by key ceremonies, which this version does not have yet",
            hint="--practice DIR makes a site for practice",
        )
    from kms.practice import init_practice  # noqa: PLC0415 -- loads the HSM's library

    site = init_practice(practice, fresh=fresh)
    session.output.banner(site.banner)


def serve(
    session: Session,
    pin_fd: Annotated[
        int | None, typer.Option(help="File descriptor that holds the PIN document.")
    ] = None,
) -> None:
    """Run the service until it is told to stop.

    PINs come from --pin-fd or from the systemd credential conclave-pins, both a JSON object
    {"token": "PIN"}, or else from a hidden prompt for each token.
    """
    from kms.supervisor import Supervisor  # noqa: PLC0415 -- for this command alone

    settings = session.settings()
    pins = read_pins(
        [token.label for token in settings.hsm.tokens],
        descriptor=pin_fd,
        environment=os.environ,
        prompt=_prompt(),
    )
    supervisor = Supervisor(session.config_path(), settings, pins, session.output.note)
    code = supervisor.run(lambda: _announce(session))
    raise typer.Exit(code)


def _prompt() -> Prompt | None:
    if not sys.stdin.isatty():
        return None
    return lambda token: getpass.getpass(_("PIN of token {token}: ").format(token=token))


def _announce(session: Session) -> None:
    settings = session.settings()
    session.output.banner(settings.site.banner)
    addresses = {"socket": str(settings.paths.api_socket)}
    session.output.record(addresses, addresses, (Column("Listening on", "socket"),))


def status(session: Session) -> None:
    """Show the state of the log, the workers and key operations."""
    with session.client() as client:
        document = client.status().model_dump(mode="json")
    session.output.banner(document["banner"])
    workers = ", ".join(f"{token}: {state}" for token, state in document["workers"].items())
    session.output.record(document, {**document, "workers": workers}, _STATUS)


def hsm_info(session: Session) -> None:
    """Show what each token says of itself."""
    with session.client() as client:
        document = client.tokens().model_dump(mode="json")
    rows = [_token_row(token) for token in document["items"]]
    session.output.table(document, rows, _TOKENS)


def _token_row(token: dict[str, Any]) -> dict[str, Any]:
    return {**token, "space": token["space"] or "-", "objects": len(token["objects"])}
