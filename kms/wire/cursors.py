"""Cursors that tell nothing: a page that ends behind what its reader may not know goes on by one,
and by nothing else: whoever could name a place would find by halves what is hidden there.

Sealed with a key of this process: after a restart the reader begins anew.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kms.errors import InvalidInput
from kms.statements.canonical import b64u, unb64u

_MARK: Final = "~"
_NONCE = 12
_USE = b"conclave cursor v1"
_LENGTH = 80
"""Longer than any place, so that its length tells nothing either."""


class Cursors:
    """Hides cursors and opens them again."""

    def __init__(self) -> None:
        self._key = AESGCM(AESGCM.generate_key(256))

    def hide(self, cursor: str) -> str:
        """Return a cursor that only this process can read."""
        nonce = os.urandom(_NONCE)
        return _MARK + b64u(nonce + self._key.encrypt(nonce, cursor.ljust(_LENGTH).encode(), _USE))

    def read(self, given: str, *, hidden: bool) -> str:
        """Return a cursor as it was before it was hidden, if it was; of ``hidden`` ones alone.
        Raise InvalidInput.
        """
        if not given.startswith(_MARK) and not (given and hidden):
            return given
        try:
            data = unb64u(given.removeprefix(_MARK))
            return self._key.decrypt(data[:_NONCE], data[_NONCE:], _USE).decode().rstrip()
        except (InvalidTag, ValueError) as error:
            raise InvalidInput("the page cannot be gone on with", hint="begin anew") from error
