"""Splits secrets by SLIP-39, combines them, and says of given words whose share they are. The only
user of shamir-mnemonic, which has no side-channel hardening: ceremonies only, never in the service.

No passphrase is used, since a wrong one gives a wrong secret without a word; the check value
decides whether what was combined is what was split. No error here ever quotes a word.
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, product
from typing import NoReturn

from shamir_mnemonic import (  # type: ignore[import-untyped] # it has no types
    MnemonicError,
    combine_mnemonics,
    generate_mnemonics,
)
from shamir_mnemonic.share import Share as Mnemonic  # type: ignore[import-untyped] # it has no types
from shamir_mnemonic.wordlist import WORDLIST  # type: ignore[import-untyped] # it has no types

from kms.ceremonies.ports import Share, SharedSecret, ShareGroup
from kms.errors import IntegrityFailure, ShareRefused
from kms.i18n import _

LENGTHS: Mapping[SharedSecret, int] = {SharedSecret.ESCROW: 33, SharedSecret.SO: 20}
"""Words of a share: of a 32-byte and of a 16-byte secret."""

_PREFIX = 4
_WORDS: dict[str, str] = {word[:_PREFIX]: word for word in WORDLIST}
_CHECK_LABEL = b"conclave-share-check-v1"
_CHECK_BYTES = 8


class Fault(StrEnum):
    """What is wrong with a share that somebody gave: ``ShareRefused.fault``."""

    WORD = "word"
    LENGTH = "length"
    CHECKSUM = "checksum"
    TWICE = "twice"
    HOLDER = "holder"
    SPLIT = "split"
    SECRET = "secret"  # noqa: S105 -- a kind of fault
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class ShareBook:
    """What is public of one split of a secret. ``ceremony`` made it, ``check`` is the secret's
    check value; shares (SHA-256 of the words, in hex) and holders stand under ``group/index``.
    """

    secret: SharedSecret
    generation: int
    split: int
    ceremony: str
    groups: tuple[ShareGroup, ...]
    check: str
    share_sha256: dict[str, str]
    holders: dict[str, str]

    def quorums(self, given: Mapping[str, str]) -> list[tuple[str, ...]]:
        """Return every exactly sufficient choice among given shares (words by ``group/index``)."""
        chosen = [
            combinations([words for place, words in given.items() if _of(place, group)], needed)
            for group, needed in ((group.name, group.threshold) for group in self.groups)
        ]
        return [tuple(words for members in each for words in members) for each in product(*chosen)]


def split(secret: bytes, groups: Sequence[ShareGroup]) -> list[Share]:
    """Return the shares of a 16- or 32-byte secret; every group is needed to combine it."""
    sizes = [(group.threshold, group.count) for group in groups]
    words = generate_mnemonics(len(groups), sizes, secret)
    return [
        Share(group.name, index, text)
        for group, members in zip(groups, words, strict=True)
        for index, text in enumerate(members, start=1)
    ]


def combine(words: Iterable[str], check: str) -> bytes:
    """Return the secret from exactly the threshold of shares of every group.

    Raise IntegrityFailure if they do not combine or the check value differs.
    """
    try:
        secret: bytes = combine_mnemonics(words)
    except MnemonicError:
        # Its text quotes words of the share.
        raise IntegrityFailure("the shares do not combine") from None
    if not hmac.compare_digest(check_value(secret), check):
        raise IntegrityFailure("the shares combine to another key: a share is wrong")
    return secret


def check_value(secret: bytes) -> str:
    """Return a secret's check value: 8 bytes of HMAC-SHA256 under it, in hex. It is public."""
    return hmac.digest(secret, _CHECK_LABEL, "sha256")[:_CHECK_BYTES].hex()


def share_digest(words: str) -> str:
    """Return SHA-256 (hex) of a share's normalised words."""
    return hashlib.sha256(words.encode()).hexdigest()


def place_of(group: str, index: int) -> str:
    """Return how share books name a share."""
    return f"{group}/{index}"


def share_name(secret: SharedSecret, place: str, generation: int, split: int) -> str:
    """Return how people call a share: no two shares of a site go by one name."""
    if secret is SharedSecret.SO:
        text = _("SO share {place}, generation {generation}, split {split}")
    else:
        text = _("escrow share {place}, generation {generation}, split {split}")
    return text.format(place=place, generation=generation, split=split)


def normalise(text: str) -> str:
    """Return a share's words in full, lower case, one blank between them.

    Their first four letters are enough, and a QR code's text is taken too. Raise ShareRefused with
    the place of what is not a word of the SLIP-39 list.
    """
    words = []
    for number, given in enumerate(unicodedata.normalize("NFKC", text).casefold().split(), 1):
        word = _WORDS.get(given[:_PREFIX], "")
        if not word.startswith(given):
            _refuse(Fault.WORD, _("word {number} is not in the list of share words"), number=number)
        words.append(word)
    return " ".join(words)


def identify(
    text: str, place: str, book: ShareBook, books: Iterable[ShareBook], given: Collection[str] = ()
) -> str:
    """Return the words of a share if it is exactly that of ``place`` in ``book``.

    ``books`` are all of the site, ``given`` the digests of the shares given so far. Raise
    ShareRefused saying what is wrong: a word, the checksum, or whose or which share it is instead.
    """
    words = normalise(text)
    _check_spelling(words)
    digest = share_digest(words)
    if digest in given:
        _refuse(Fault.TWICE, _("this share was given before: each is given once"))
    if digest != book.share_sha256[place]:
        _say_which(digest, place, book, books)
    return words


def _check_spelling(words: str) -> None:
    count = len(words.split())
    if count not in LENGTHS.values():
        text = _("{count} words were given: a share has 33 words (escrow) or 20 (SO secret)")
        _refuse(Fault.LENGTH, text, count=count)
    try:
        Mnemonic.from_mnemonic(words)
    except MnemonicError:
        text = _("the share's checksum does not hold: a word was misread or stands elsewhere")
        _refuse(Fault.CHECKSUM, text)


def _say_which(digest: str, wanted: str, book: ShareBook, books: Iterable[ShareBook]) -> NoReturn:
    for other in (book, *books):
        for place, known in other.share_sha256.items():
            if known == digest:
                _say_other(other, place, book, wanted)
    _refuse(Fault.FOREIGN, _("this is no share of any key of this site"))


def _say_other(other: ShareBook, place: str, book: ShareBook, wanted: str) -> NoReturn:
    told: dict[str, str | int] = {
        "place": place,
        "holder": other.holders[place],
        "wanted": wanted,
        "owner": book.holders[wanted],
        "generation": other.generation,
        "split": other.split,
        "wanted_generation": book.generation,
        "wanted_split": book.split,
    }
    if other.secret is not book.secret:
        if other.secret is SharedSecret.SO:
            _refuse(Fault.SECRET, _("this is a share of the SO secret: wanted is one of escrow"))
        _refuse(Fault.SECRET, _("this is a share of escrow: wanted is one of the SO secret"))
    if (other.generation, other.split) != (book.generation, book.split):
        text = _(
            "this share is of generation {generation}, split {split}: wanted is one of generation "
            "{wanted_generation}, split {wanted_split}"
        )
        _refuse(Fault.SPLIT, text, **told)
    text = _("this is share {place}, held by {holder}: wanted is share {wanted} of {owner}")
    _refuse(Fault.HOLDER, text, **told)


def _refuse(fault: Fault, text: str, **values: str | int) -> NoReturn:
    # The cause may hold words of the share.
    raise ShareRefused(text.format(**values), fault=fault) from None


def _of(place: str, group: str) -> bool:
    return place.rpartition("/")[0] == group
