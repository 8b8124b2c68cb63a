"""ceremony: key ceremonies from the plan to the signed transcript."""

import typer

from kms.cli import ceremony_plan, ceremony_records, ceremony_rehearse, ceremony_run, ceremony_sign
from kms.cli.register import group


def add(app: typer.Typer) -> None:
    """Add the commands."""
    ceremonies = group("Key ceremonies: what several people do together, by a script.")
    for part in (ceremony_plan, ceremony_rehearse, ceremony_run, ceremony_sign, ceremony_records):
        part.add(ceremonies)
    app.add_typer(ceremonies, name="ceremony")
