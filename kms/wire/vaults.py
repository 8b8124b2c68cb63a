"""Messages about vault keys."""

from typing import Annotated

from pydantic import Field

from kms.wire.base import Count, Recipient, Space, Text, Time, Wire

_Many = Field(max_length=10_000)


class VaultVersionOut(Wire):
    """One vault key of a space: ``epochs`` still have an envelope to it; ``retired``: since then
    its key pair is destroyed, and older backups open by escrow alone; ``retirable``: nothing
    depends on it, so an approved request (``vault.retire``) can have it destroyed.
    """

    recipient: Recipient
    version: Count
    registered: Time
    retired: Time | None
    epochs: Count
    retirable: bool


class FailedEpochOut(Wire):
    """An epoch whose key could not be moved, by its row's key, and the code of what was wrong."""

    epoch: Text
    code: Text


class SpaceVaultsOut(Wire):
    """A space's vault keys, oldest first. ``attention``: people have to act; ``due``: when the
    next vault key is to be made (null: never); ``left``: how many epochs wait to be moved to the
    newest; ``done`` and ``per_second``: what this process has moved.
    """

    space: Space
    attention: bool
    due: Time | None
    overdue: bool
    paused: bool
    left: Count
    done: Count
    per_second: Count
    failed: Annotated[tuple[FailedEpochOut, ...], _Many]
    versions: Annotated[tuple[VaultVersionOut, ...], _Many]


class VaultList(Wire):
    """The vault keys of the spaces that the caller may know of. ``unknown`` are those that are
    sealed or out of the configuration: nothing of them is listed.
    """

    items: Annotated[tuple[SpaceVaultsOut, ...], _Many]
    unknown: Annotated[tuple[Space, ...], _Many] = ()


class ResealOut(Wire):
    """Whether the move of a space's keys is paused."""

    space: Space
    paused: bool
