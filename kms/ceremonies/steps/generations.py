"""Escrow generations and share books in the state directory: what is public of shared secrets."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from kms.ceremonies.ports import Files, SharedSecret
from kms.ceremonies.room import Facts, Room
from kms.ceremonies.steps.shares import ShareBook
from kms.ceremonies.steps.state import file_facts, write_same
from kms.errors import NotFound
from kms.statements import archive
from kms.statements.canonical import decode_record, encode_record, unb64u

_BOOK = re.compile(r"shares-(?:escrow|so)-[1-9][0-9]{0,8}-[1-9][0-9]{0,8}\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class EscrowRecord:
    """What is public of an escrow generation: the SWK's check value, and the SPKI (base64url) of
    the escrow key and of the disk escrow key, whose private halves lie under one SWK.
    """

    generation: int
    check: str
    spki: str
    disk_spki: str

    @property
    def key(self) -> bytes:
        """The public key (SPKI, DER) that keys of meetings are wrapped to."""
        return unb64u(self.spki)

    @property
    def disk_key(self) -> bytes:
        """The public key (SPKI, DER) that recovery keys of disks are encrypted to."""
        return unb64u(self.disk_spki)


@dataclass(frozen=True, slots=True)
class EscrowBlobs:
    """The private halves of an escrow generation, each under the SWK."""

    key: bytes
    disk_key: bytes


def read_escrow(files: Files, generation: int) -> EscrowRecord:
    """Return one generation's record; raise NotFound, InvalidInput."""
    return decode_record(files.read(archive.ESCROW_RECORD.format(generation)), EscrowRecord)


def read_escrow_blobs(files: Files, generation: int) -> EscrowBlobs:
    """Return one generation's private halves under the SWK; raise NotFound."""
    key, disk_key = (files.read(name) for name in blob_names(generation))
    return EscrowBlobs(key, disk_key)


def blob_names(generation: int) -> tuple[str, str]:
    """Return the names of the files with one generation's private halves."""
    return archive.ESCROW_BLOB.format(generation), archive.DISK_ESCROW_BLOB.format(generation)


def write_escrow(files: Files, record: EscrowRecord, blobs: EscrowBlobs) -> Facts:
    """Write a generation's blobs and then its record, which says that it is there."""
    blob, disk_blob = blob_names(record.generation)
    name = archive.ESCROW_RECORD.format(record.generation)
    return {
        "blob": write_same(files, blob, blobs.key),
        "disk_blob": write_same(files, disk_blob, blobs.disk_key),
        "record": write_same(files, name, encode_record(record)),
    }


def remove_escrow(files: Files, generation: int) -> None:
    """Take back a generation that is not in use."""
    for name in (archive.ESCROW_RECORD.format(generation), *blob_names(generation)):
        files.remove(name)


def share_books(files: Files) -> tuple[ShareBook, ...]:
    """Return all share books of the site."""
    names = [name for name in files.names() if _BOOK.fullmatch(name)]
    return tuple(decode_record(files.read(name), ShareBook) for name in names)


@dataclass(frozen=True, slots=True)
class BookFinder:
    """Finds a step's share book when the step is done: the newest of a secret (and generation)
    that this ceremony wrote itself (``own``), or that it found in force.
    """

    secret: SharedSecret
    generation: int | None = None
    own: bool = False

    def find(self, room: Room) -> ShareBook:
        """Return the book; raise NotFound."""
        books = [book for book in share_books(room.files) if self._fits(room, book)]
        if not books:
            raise NotFound(f"there is no share book of the {self.secret} secret")
        return max(books, key=lambda book: (book.generation, book.split))

    def _fits(self, room: Room, book: ShareBook) -> bool:
        return (
            book.secret is self.secret
            and self.generation in {None, book.generation}
            and _is_own(room, book) is self.own
        )


def own_book(secret: SharedSecret) -> BookFinder:
    """Return a finder of the book that this ceremony wrote."""
    return BookFinder(secret, own=True)


Numbers = Callable[[Room], tuple[int, int]]
"""Finds generation and split of new shares when they are made."""


def first(_room: Room) -> tuple[int, int]:
    """Return the numbers of the first split of a first generation."""
    return 1, 1


def next_split(secret: SharedSecret) -> Numbers:
    """Return how the next split of the generation in force is numbered."""

    def number(room: Room) -> tuple[int, int]:
        book = BookFinder(secret).find(room)
        return book.generation, book.split + 1

    return number


def next_generation(secret: SharedSecret) -> Numbers:
    """Return how the first split of the next generation is numbered."""
    return lambda room: (BookFinder(secret).find(room).generation + 1, 1)


def write_share_book(files: Files, book: ShareBook) -> Facts:
    """Write a share book; raise AlreadyExists."""
    name = book_name(book)
    files.write_new(name, encode_record(book))
    return file_facts(files, name)


def book_name(book: ShareBook) -> str:
    """Return the name of a share book's file."""
    return archive.share_book(book.secret, book.generation).format(book.split)


def remove_own_books(room: Room, secret: SharedSecret) -> None:
    """Take back what this ceremony wrote of a secret's shares."""
    for book in share_books(room.files):
        if book.secret is secret and _is_own(room, book):
            room.files.remove(book_name(book))


def _is_own(room: Room, book: ShareBook) -> bool:
    return book.ceremony == room.brief.plan.file.id
