"""Checkpoints of the audit log: signs only what consistently extends the last head signed.

The head lies in a data object on the token, where a rolled-back disk does not reach. It is
written before the signature leaves, so no signed head is ever forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pkcs11 import Attribute

from kms.audit.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency
from kms.audit.note import Checkpoint, sign_checkpoint
from kms.errors import AlreadyExists, IntegrityFailure, InvalidInput, VerificationFailed
from kms.hsm.keyring import SiteKeyring
from kms.hsm.labels import Kind
from kms.hsm.templates import checkpoint_state
from kms.hsm.token import Handle, Token
from kms.statements.canonical import b64u, decode_record, encode_record, unb64u


@dataclass(frozen=True, slots=True)
class Head:
    """A tree head as it is written to the token; ``root`` in base64url."""

    root: str
    size: int


class Checkpoints:
    """The log's heads on the site's token; ``origin`` is the site's id."""

    def __init__(self, token: Token, origin: str) -> None:
        self._token = token
        self._origin = origin

    def last(self) -> tuple[int, bytes]:
        """Return size and root of the last head; raise IntegrityFailure."""
        head = self._load()[0]
        return head.size, unb64u(head.root)

    def sign(self, keys: SiteKeyring, size: int, root: bytes, proof: Sequence[bytes]) -> str:
        """Return the signed note for a head; raise IntegrityFailure unless it extends the last."""
        checkpoint = Checkpoint(self._origin, size, root)
        checkpoint.text()
        head, handles = self._load()
        try:
            verify_consistency(head.size, unb64u(head.root), size, root, proof)
        except VerificationFailed as error:
            raise IntegrityFailure("the log does not extend what was signed last") from error
        self._keep(Head(b64u(root), size), head, handles)
        return sign_checkpoint(checkpoint, keys.checkpoint_key, keys.sign_checkpoint)

    def adopt(self, size: int, root: bytes) -> None:
        """Begin with a head that an earlier token signed; adopting the same again changes nothing.

        Raise AlreadyExists if another head is there, InvalidInput for none of a log.
        """
        if size < 1 or len(root) != HASH_BYTES:
            raise InvalidInput("the head of a log has a size from 1 and a 32-byte root")
        new = Head(b64u(root), size)
        head, handles = self._load()
        if handles and head != new:
            raise AlreadyExists("the token has signed a head of the log itself")
        self._keep(new, head, handles)
        if self._load()[0] != new:
            raise IntegrityFailure("the token did not keep the head of the log")

    def _keep(self, new: Head, old: Head, handles: list[Handle]) -> None:
        """Write the new head, then remove the older: a crash between leaves both."""
        stale = handles[1:]
        if new != old or not handles:
            self._token.create(checkpoint_state(encode_record(new)))
            stale = handles
        for handle in stale:
            self._token.destroy(handle)
        self._token.refresh()

    def _load(self) -> tuple[Head, list[Handle]]:
        """Return the largest head and the handles of all, its own first."""
        objects = [o for o in self._token.objects() if o.label.kind is Kind.CHECKPOINT_STATE]
        found = [(self._read(item.handle), item.handle) for item in objects]
        found.sort(key=lambda pair: pair[0].size, reverse=True)
        if not found:
            return Head(b64u(EMPTY_ROOT), 0), []
        head = found[0][0]
        if any(other.size == head.size and other != head for other, _ in found):
            raise IntegrityFailure("the token holds two heads of the log of the same size")
        return head, [handle for _, handle in found]

    def _read(self, handle: Handle) -> Head:
        try:
            return decode_record(self._token.read(handle, Attribute.VALUE), Head)
        except InvalidInput as error:
            raise IntegrityFailure("the head of the log on the token is not readable") from error
