"""The command tree, built in the present language."""

import inspect
from typing import Annotated, Any

import typer

from kms.cli import (
    alert,
    approval,
    audit,
    ceremony,
    certificate,
    credential,
    disk,
    envelope,
    epoch,
    escrow,
    grant,
    hold,
    meeting,
    passkey,
    people,
    policy,
    report,
    roster,
    rotation,
    seal,
    service,
    space,
    vault,
)
from kms.cli.options import Options
from kms.cli.register import Group, describe, global_options
from kms.i18n import _

SUMMARY = "Conclave: keys of confidential meetings, kept in an HSM, released to the roster alone."

_PARTS = (
    *(service, seal, space, meeting, roster, epoch, rotation, envelope, escrow, alert, audit),
    *(report, disk, hold, certificate, vault, policy, grant, approval, passkey, people, credential),
    ceremony,
)


def build() -> typer.Typer:
    """Return the whole command tree."""
    app = typer.Typer(
        name="conclave",
        cls=Group,
        help=_(SUMMARY),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    _add_root(app)
    for part in _PARTS:
        part.add(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 -- for this option alone

        typer.echo(f"conclave {version('conclave')}")
        raise typer.Exit


def _version_option(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Carry the one option that only the root has."""


def _add_root(app: typer.Typer) -> None:
    def root(context: typer.Context, **values: Any) -> None:
        values.pop("version")
        context.obj = Options(**values)

    own = inspect.signature(_version_option, eval_str=True).parameters.values()
    describe(root, [*own, *global_options()])
    app.callback()(root)
