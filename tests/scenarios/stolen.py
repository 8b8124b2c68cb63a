"""A stolen disk: what a thief finds on it, with everything that he finds there and in the store.

Files are searched for byte by byte; every key on the disk and every secret-looking value of the
database is tried on it by an independent reader of LUKS2 (dissect.fve).
"""

import base64
import binascii
import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from dissect.fve.luks import LUKS

from kms.statements.canonical import b64u

HEADER_BYTES = 4 << 20
_CANARY_BYTES = 64
_KEY_SIZES = (32, 64)
"""What a volume key or a key of ours measures."""
_JSON_AREA = slice(4096, 64 << 10)
_NAMES = "合并方案-canary"
"""Canaries stand in names of files too."""


@dataclass(frozen=True)
class Canaries:
    """Files nobody else has: random names and contents, each of which is searched for."""

    files: dict[str, bytes]

    @classmethod
    def make(cls, seed: int, count: int = 64) -> "Canaries":
        """Return files of one canary each, many times over, so that some end on a sector of
        their own.
        """
        chance = random.Random(seed)
        contents = [chance.randbytes(_CANARY_BYTES) for _ in range(count)]
        names = [f"{_NAMES}-{chance.randbytes(8).hex()}" for _ in contents]
        return cls({name: one * 32 for name, one in zip(names, contents, strict=True)})

    def pieces(self) -> list[bytes]:
        """Return what is searched for."""
        return [one[:_CANARY_BYTES] for one in self.files.values()] + [
            name.encode() for name in self.files
        ]

    def found_in(self, image: Path) -> int:
        """Return how many of the pieces an image holds, at whatever place."""
        data = image.read_bytes()
        return sum(piece in data for piece in self.pieces())


# --- keys a thief tries --------------------------------------------------------------------------


@dataclass
class Loot:
    """Values a thief would try, with where each was found."""

    values: dict[bytes, str] = field(default_factory=dict)

    @classmethod
    def of(cls, image: Path, database: Path, disk: str) -> "Loot":
        """Return everything on a disk's header and in the database that may be a key of it."""
        loot = cls()
        for text in _strings(_metadata(image)):
            loot.take(text, "header")
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as store:
            names = [row[0] for row in store.execute("SELECT name FROM sqlite_master"
                                                     " WHERE type = 'table'")]  # fmt: skip
            for name in names:
                for row in store.execute(f'SELECT * FROM "{name}"'):
                    loot.take_row(row, name, disk)
        return loot

    def take_row(self, row: tuple[object, ...], table: str, disk: str) -> None:
        """Take every value of a row that tells of the disk; of others what is as large as a key."""
        told = disk in repr(row)
        for text in _strings(list(row)):
            if told or len(_bytes(text)) >= min(_KEY_SIZES):
                self.take(text, table)

    def take(self, value: str | bytes, place: str) -> None:
        """Take a value as it stands, decoded, and in pieces as large as a key."""
        raw = _bytes(value)
        self.values.setdefault(raw, place)
        for decoded in _decoded(value):
            self.values.setdefault(decoded, place)
            for size in _KEY_SIZES:
                for at in {0, 12, len(decoded) - size}:
                    piece = decoded[at : at + size]
                    if len(piece) == size:
                        self.values.setdefault(piece, place)
                        self.values.setdefault(b64u(piece).encode(), place)


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _decoded(value: str | bytes) -> Iterator[bytes]:
    """Yield what a value says in base64 and in hexadecimal digits; bytes say themselves."""
    if isinstance(value, bytes):
        yield value
        return
    with suppress(ValueError):
        yield bytes.fromhex(value)
    for part in value.split("."):  # a JWS has three
        with suppress(binascii.Error, ValueError):
            text = part.translate(str.maketrans("-_", "+/"))
            yield base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _metadata(image: Path) -> object:
    with image.open("rb") as file:
        area = file.read(_JSON_AREA.stop)[_JSON_AREA]
    return json.loads(area.rstrip(b"\0"))


def _strings(value: object) -> Iterator[str | bytes]:
    """Yield every text and every bytes of a value, also of JSON inside."""
    match value:
        case dict():
            for one in value.values():
                yield from _strings(one)
        case list() | tuple():
            for one in value:
                yield from _strings(one)
        case bytes() | str():
            yield value
            with suppress(ValueError):
                inner = json.loads(value)
                if isinstance(inner, dict | list):
                    yield from _strings(inner)


# --- an independent reader -----------------------------------------------------------------------


def opens(image: Path, passphrase: bytes) -> bool:
    """Return whether a passphrase opens a disk, as dissect.fve sees it."""
    with image.open("rb") as file:
        try:
            LUKS(file).unlock_with_passphrase(passphrase)
        except ValueError:
            return False
    return True


def slots(image: Path) -> int:
    """Return how many key slots a disk has."""
    with image.open("rb") as file:
        return len(LUKS(file).keyslots)


def opens_raw(image: Path, key: bytes) -> bool:
    """Return whether some bytes are the disk's volume key itself."""
    with image.open("rb") as file:
        found = LUKS(file)
        return any(found._verify_volume_key(key, slot) for slot in found.keyslots)


def plaintext(image: Path, passphrase: bytes) -> bytes:
    """Return what a disk holds, decrypted by dissect.fve."""
    with image.open("rb") as file:
        found = LUKS(file)
        found.unlock_with_passphrase(passphrase)
        return found.open().read()


def tried(image: Path, loot: Loot) -> list[str]:
    """Try everything; return the places of what opens the disk."""
    return [
        place
        for value, place in loot.values.items()
        if opens(image, value) or opens_raw(image, value)
    ]
