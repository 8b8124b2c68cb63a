"""Opens envelopes inside the token and wraps their keys to others: recoveries, new escrow keys.

An epoch key is on the token for the time of one envelope, as a session object. What opened it
binds it to TRUSTED keys (CKA_UNWRAP_TEMPLATE), so that the token itself refuses every other
target. Nothing is wrapped before the commitment has held.
"""

import hmac
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from pkcs11 import Mechanism, ObjectClass
from pkcs11.exceptions import PKCS11Error

from kms.ceremonies.ports import EscrowOpener, EscrowPair, RewrapItem, VaultOpener
from kms.domain.models import ReleaseClass
from kms.errors import ConclaveError, IntegrityFailure
from kms.hsm import templates
from kms.hsm.direct import DirectCalls, PackedTemplate
from kms.hsm.escrow import open_escrow
from kms.hsm.faults import Action, TokenFault
from kms.hsm.keyring import Reader, as_reader
from kms.hsm.labels import Kind, Label, numbered, parse_label
from kms.hsm.publickeys import load_rsa, read_rsa
from kms.hsm.token import Handle, Token

_EPOCH = PackedTemplate(templates.UNWRAP_EPOCH)
_PROOF = b"conclave-keeper-proof-v1"


def rewrap(
    token: Token,
    opener: EscrowOpener | VaultOpener,
    targets: Sequence[str],
    items: Iterable[RewrapItem],
) -> Iterator[tuple[bytes, ...]]:
    """Yield each item's key wrapped to every TRUSTED key of ``targets`` (labels), in that order.

    Raise NotFound or InvalidInput for a target that is none; IntegrityFailure for an item that
    does not open or is of another context, TokenFault if the token fails, both with the item's
    number from 0.
    """
    private = _opened(token, opener)
    found = [token.find(ObjectClass.PUBLIC_KEY, parse_label(label)) for label in targets]
    rewrapper = Rewrapper(token, private, [as_reader(token, item) for item in found])
    for number, item in enumerate(items):
        yield rewrapper.rewrap(number, item)


class Rewrapper:
    """Handles of one session: the key that opens, and those that are wrapped to."""

    def __init__(self, token: Token, private: Handle, targets: Sequence[Reader]) -> None:
        self._token = token
        self._session = token.session
        self._calls = DirectCalls(token.cryptoki, token.session.handle, token.profile.oaep_hash)
        self._private = private.handle
        self._targets = targets

    def rewrap(self, number: int, item: RewrapItem) -> tuple[bytes, ...]:
        """Return one key's blobs; raise IntegrityFailure, TokenFault."""
        if self._token.session is not self._session:
            raise TokenFault(f"envelope {number}: the session ended, start again")
        key = self._open(number, item)
        try:
            blobs = tuple(self._calls.wrap_oaep(to.handle, key, to.size) for to in self._targets)
            self._calls.destroy(key)
        except PKCS11Error as error:
            raise self._failed(number, error) from error
        return blobs

    def _open(self, number: int, item: RewrapItem) -> int:
        """Return the epoch key's handle, once its commitment has held."""
        try:
            key = self._calls.unwrap_oaep(self._private, item.blob, _EPOCH)
            commitment = self._calls.sign(key, Mechanism.AES_CMAC, item.context)
            if hmac.compare_digest(commitment, item.commitment):
                return key
            self._calls.destroy(key)
        except PKCS11Error as error:
            fault = self._failed(number, error)
            if isinstance(fault, TokenFault) and fault.action is not Action.FAIL:
                raise fault from error
            raise IntegrityFailure(f"envelope {number} does not open") from error
        raise IntegrityFailure(f"envelope {number} is of another context")

    def _failed(self, number: int, error: PKCS11Error) -> ConclaveError:
        """Drop the session, and with it every key in it."""
        fault = self._token.failed(error)
        if isinstance(fault, TokenFault):
            return TokenFault(f"envelope {number}: {fault.message}", action=fault.action)
        return fault


def _opened(token: Token, opener: EscrowOpener | VaultOpener) -> Handle:
    if isinstance(opener, EscrowOpener):
        return open_escrow(token, opener.swk, opener.blob)
    return token.find(ObjectClass.PRIVATE_KEY, numbered(Kind.VAULT, opener.version)).handle


def prove_escrow(token: Token, swk: bytes, pair: EscrowPair) -> None:
    """Let the wrapped private half open what the public half wrapped; raise IntegrityFailure."""
    public = token.create(templates.device_public(load_rsa(pair.spki)))
    _prove(token, public, EscrowOpener(swk, pair.blob), "the escrow key")


def prove_vault(token: Token, label: Label) -> bytes:
    """Let a vault key open what its TRUSTED public half, of that label, wrapped; return that half
    (SPKI, DER). Raise NotFound, IntegrityFailure.
    """
    public = token.find(ObjectClass.PUBLIC_KEY, label)
    as_reader(token, public)
    _prove(token, public.handle, VaultOpener(label.number), str(label))
    return read_rsa(token, public.handle)


def _prove(token: Token, public: Handle, opener: EscrowOpener | VaultOpener, what: str) -> None:
    key = token.generate_secret(templates.epoch_key(ReleaseClass.ROSTER))
    item = RewrapItem(token.wrap(public, key), _PROOF, token.cmac(key, _PROOF))
    try:
        deque(rewrap(token, opener, (), [item]), maxlen=0)
    except IntegrityFailure as error:
        raise IntegrityFailure(f"{what} is not proved: {error.message}") from error
