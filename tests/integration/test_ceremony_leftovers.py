"""What ceremonies leave behind: no share, no key over which shares stand, no PIN."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding

from kms.bootstrap.files import StateFiles
from kms.bootstrap.pins import derive_so_pin
from kms.ceremonies.ports import SharedSecret
from kms.ceremonies.steps.generations import read_escrow_blobs, share_books
from kms.ceremonies.steps.shares import combine, share_name
from kms.practice import PracticeSite
from kms.practice.people import CardFolder
from tests.fixtures.founded import founded_site, hold_isolated

SPACE = "space-investment-banking"
WORDS = 4
"""So many words of a share in a row are enough to be found."""


def secrets_of(site: PracticeSite) -> Iterator[bytes]:
    """Yield everything that must be nowhere but with its holders, as it could be spelled."""
    words = CardFolder(site.shares).words()
    for share in (text.split() for text in words.values()):
        yield from (" ".join(share[n : n + WORDS]).encode() for n in range(len(share) - WORDS + 1))
    for book in share_books(StateFiles(site.state)):
        numbers = book.generation, book.split
        given = {place: words[share_name(book.secret, place, *numbers)] for place in book.holders}
        secret = combine(book.quorums(given)[0], book.check)
        yield from _spelled(secret)
        if book.secret is SharedSecret.SO:
            for token in ("site", SPACE):
                yield derive_so_pin(secret, site.site_id, token, book.generation).encode()
        else:
            blobs = read_escrow_blobs(StateFiles(site.state), book.generation)
            for blob in (blobs.key, blobs.disk_key):
                private = aes_key_unwrap_with_padding(secret, blob)
                yield from (private[at : at + 32] for at in range(600, len(private) - 32, 100))
    yield from (pin.encode() for pin in json.loads(site.pins.read_bytes()).values())


def _spelled(secret: bytes) -> tuple[bytes, ...]:
    return secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"=")


def test_nothing_secret_is_left_but_with_those_who_hold_it(tmp_path: Path) -> None:
    site = founded_site(tmp_path / "site")
    hold_isolated(site, "create-investment-banking")
    secret = re.compile(b"|".join(map(re.escape, secrets_of(site))))
    files = [
        path for path in (*tmp_path.rglob("*"), *Path("/dev/shm").rglob("*")) if path.is_file()
    ]
    told = {path.parent for path in files if secret.search(path.read_bytes())}
    assert told == {site.shares, site.pins.parent}
