"""The register of people in force: the one of the highest version that the log names, signed by the
site root. A leaf whose version is not higher than every earlier one names nothing.

The files are read from the state directory and nothing in them is believed unverified. The log was
checked when the service started; only leaves that are new are read.
"""

import asyncio
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kms.audit.leaf import Leaf, Outcome, decode_leaf
from kms.domain.people import Register
from kms.errors import ConclaveError, ConfigurationError, IntegrityFailure
from kms.ports import Store
from kms.statements import archive, jws
from kms.statements.canonical import digest
from kms.statements.register import TYP, verify_register

_PAGE = 500
_CHANGE = b'{"action":"register.change"'
"""How the canonical form of a leaf about the register begins."""


@dataclass(frozen=True, slots=True)
class InForce:
    """A register of people, its JWS, and the SHA-256 (base64url) of that."""

    register: Register
    token: str
    sha256: str


@dataclass(slots=True)
class Registers:
    """The registers that the log names, read on from where it was; the present one is kept."""

    position: int = 0
    version: int = 0
    named: list[str] = field(default_factory=list)
    since: list[int] = field(default_factory=list)
    """The leaves that named them."""
    _present: InForce | None = None

    def in_force(self, store: Store, state: Path) -> InForce:
        """Return the register in force; raise ConfigurationError if there is none to read,
        IntegrityFailure if it is not the one that the log names, or of another version.
        """
        self._read(store)
        if not self.named:
            raise ConfigurationError(
                "the log names no register of people: {folder}",
                hint="initialise the site first",
                about={"folder": state},
            )
        if self._present is None or self._present.sha256 != self.named[-1]:
            newest = _newest(state, self.named[-1])
            if newest.register.version != self.version:
                raise IntegrityFailure("the log tells another version of the register of people")
            self._present = newest
        return self._present

    def once_in_force(self, store: Store, state: Path, sha256: str) -> InForce:
        """Return a register by the SHA-256 of its JWS, also one that others have followed; raise
        IntegrityFailure unless the log names it.
        """
        if self.in_force(store, state).sha256 == sha256:
            return self.in_force(store, state)
        if sha256 not in self.named:
            raise IntegrityFailure("the log names no such register of people")
        for number in range(_last(state, archive.REGISTER), 0, -1):
            token = _text(state, number)
            if digest(token.encode()) == sha256:
                return InForce(_verified(state, token), token, sha256)
        raise IntegrityFailure("a register of people that the log names is gone")

    def at(self, store: Store, state: Path, seq: int) -> Register:
        """Return the register in force for the leaf of a number; raise ConfigurationError if there
        was none yet, IntegrityFailure.
        """
        self._read(store)
        before = bisect_left(self.since, seq)
        if not before:
            raise ConfigurationError(
                "the log named no register of people yet", hint="initialise the site first"
            )
        return self.once_in_force(store, state, self.named[before - 1]).register

    async def catch_up(self, store: Store) -> None:
        """Read the leaves that are new; others have their turn between two pages."""
        more = True
        while more:
            more = self._page(store)
            await asyncio.sleep(0)

    def _read(self, store: Store) -> None:
        while self._page(store):
            pass

    def _page(self, store: Store) -> bool:
        """Read one page; say whether there was one."""
        page = store.leaves(self.position, _PAGE)
        for data in page:
            if data.startswith(_CHANGE):
                leaf = decode_leaf(data)
                if leaf.outcome is Outcome.SUCCEEDED:
                    self._name(leaf)
        self.position += len(page)
        return bool(page)

    def _name(self, leaf: Leaf) -> None:
        version = leaf.details.get("version")
        if isinstance(version, int) and version > self.version:
            self.version = version
            self.named.append(str(leaf.details.get("sha256")))
            self.since.append(leaf.seq)


def _newest(state: Path, expected: str) -> InForce:
    """Return the newest register; the newest site root must have signed it."""
    number, token = _last(state, archive.REGISTER), ""
    if number:
        token = _text(state, number)
    if digest(token.encode()) != expected:
        raise IntegrityFailure("the newest register of people is not the one that the log names")
    try:
        return InForce(verify_register(token, site_root(state)), token, expected)
    except ConclaveError as error:
        raise _unreadable(state) from error


def site_root(state: Path) -> ec.EllipticCurvePublicKey:
    """Return the newest site root that the state directory keeps; raise ConfigurationError."""
    return _root(state, _last(state, archive.SITE_ROOT))


def site_roots(state: Path) -> tuple[ec.EllipticCurvePublicKey, ...]:
    """Return every site root that the state directory keeps, the newest first: a restored site has
    a new one. Raise ConfigurationError.
    """
    return tuple(_root(state, one) for one in range(_last(state, archive.SITE_ROOT), 0, -1))


def _verified(state: Path, token: str) -> Register:
    """Return a register by whichever root of this site signed it."""
    kid = jws.key_id(token, typ=TYP)
    for root in site_roots(state):
        if jws.spki_id(root) == kid:
            return verify_register(token, root)
    raise IntegrityFailure("no site root of this site signed the register of people")


def _last(state: Path, pattern: str) -> int:
    try:
        return archive.newest((path.name for path in state.iterdir()), pattern)
    except OSError as error:
        raise _unreadable(state) from error


def _text(state: Path, number: int) -> str:
    try:
        return (state / archive.REGISTER.format(number)).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(state) from error


def _root(state: Path, number: int) -> ec.EllipticCurvePublicKey:
    try:
        root = load_pem_public_key((state / archive.SITE_ROOT.format(number)).read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise _unreadable(state) from error
    if not isinstance(root, ec.EllipticCurvePublicKey):
        raise _unreadable(state)
    return root


def _unreadable(state: Path) -> ConfigurationError:
    return ConfigurationError(
        "the register of people cannot be read: {folder}",
        hint="initialise the site first",
        about={"folder": state},
    )
