"""Example plans of the kinds of ceremonies: for the handbook, and to begin a new plan from."""

from pathlib import Path


def example(kind: str) -> str:
    """Return a kind's example plan (TOML)."""
    return (Path(__file__).parent / f"{kind}.toml").read_text("utf-8")
