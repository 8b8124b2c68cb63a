"""ceremony rehearse: the very same plan on a throwaway token."""

import typer


def add(app: typer.Typer) -> None:
    """Add the command."""
