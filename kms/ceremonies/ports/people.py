"""People, their shares and PINs, and the state directory, as steps need them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ShareGroup:
    """A group of share holders: ``threshold`` of its ``count`` are needed, and every group is."""

    name: str
    threshold: int
    count: int


@dataclass(frozen=True, slots=True)
class Share:
    """One share: group, place in it from 1, and its words (SLIP-39). The words are secret."""

    group: str
    index: int
    words: str = field(repr=False)


class SharedSecret(StrEnum):
    """What is split: the key over the escrow key, or what the SO PINs are derived from."""

    ESCROW = "escrow"
    SO = "so"


@dataclass(frozen=True, slots=True)
class ShareCard:
    """One share as its holder gets it. ``fingerprint`` is the head of the share's SHA-256."""

    site: str
    secret: SharedSecret
    generation: int
    split: int
    group: ShareGroup
    index: int
    holder: str
    display: str
    fingerprint: str
    words: str = field(repr=False)


class People(Protocol):
    """The people in the room, at the ceremony's terminal. Texts are already in their language."""

    def say(self, text: str) -> None:
        """Tell everybody what is going on."""
        ...

    def confirm(self, who: str, phrase: str, text: str) -> None:
        """Go on only once ``who`` typed the phrase; raise Abandoned."""
        ...

    def ask(self, who: str, text: str) -> str:
        """Return one line that is not secret, such as the number of a bag."""
        ...

    def give_card(self, card: ShareCard) -> None:
        """Give a share to its holder alone, on paper or screen; return once they have it."""
        ...

    def take_words(self, who: str, text: str) -> str:
        """Return a share as its holder types or scans it, unseen by the others."""
        ...

    def progress(self, text: str, done: int, total: int) -> None:
        """Show how far long work is."""
        ...


class PinBox(Protocol):
    """PINs of this ceremony, in memory alone."""

    def set_so_secret(self, secret: bytes, generation: int) -> None:
        """Derive the SO PINs of all tokens from this secret (16 bytes) until ``forget``."""
        ...

    def so_pin(self, token: str) -> str:
        """Return a token's SO PIN; raise PinError if the officers' secret is not here."""
        ...

    def user_pin(self, token: str) -> str:
        """Return a token's user PIN; raise PinError."""
        ...

    def draw_user_pin(self, token: str) -> None:
        """Draw a new token's user PIN (128 bits) unless it is known."""
        ...

    def deliver_user_pins(self, tokens: Sequence[str]) -> None:
        """Hand the PINs of new tokens to where the configuration's owner said."""
        ...

    def forget(self) -> None:
        """Forget the officers' secret."""
        ...


class Files(Protocol):
    """The state directory. Outputs are created exclusively and synced, never overwritten. A name
    may lie in folders (``certificates/c-1.json``), which are made when need be.
    """

    def write_new(self, name: str, data: bytes) -> None:
        """Create a file; raise AlreadyExists."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's bytes; raise NotFound."""
        ...

    def names(self) -> tuple[str, ...]:
        """Return the names of all files, sorted."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is as good as removed."""
        ...
