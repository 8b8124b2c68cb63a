"""Assertions: the word of the bank's own face and voice service that somebody is at a device now.

A JWT (RFC 7519) by that service's key, for one device and one meeting. It is verified here; that it
is fresh and used once is judged where it is used.
"""

from dataclasses import dataclass

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from kms.errors import InvalidInput, VerificationFailed

MAX_BYTES = 8192
_LEAST_RSA_BITS = 2048
Key = ECKey | RSAKey


class Claims(msgspec.Struct, frozen=True):
    """What an assertion must say; other claims mean nothing here. Times in whole seconds."""

    iss: str
    aud: str | tuple[str, ...]
    sub: str
    meeting: str
    amr: tuple[str, ...]
    iat: int
    exp: int
    jti: str


@dataclass(frozen=True, slots=True)
class AssertionKey:
    """The service's public key, and the algorithms that it may sign with."""

    key: Key
    algorithms: tuple[str, ...]

    def verify(self, token: str) -> Claims:
        """Return the claims of an assertion by this key; raise VerificationFailed."""
        if not token.isascii() or len(token) > MAX_BYTES:
            raise VerificationFailed("not an assertion")
        try:
            signed = jws.deserialize_compact(token, self.key, list(self.algorithms))
            claims = msgspec.json.decode(signed.payload, type=Claims)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise VerificationFailed("not an assertion of the service") from error
        if "crit" in signed.headers():
            raise VerificationFailed("an assertion that wants to be understood otherwise")
        return claims


def read_key(data: bytes) -> AssertionKey:
    """Return the key of a file: a public JWK or PEM, P-256 or RSA; raise InvalidInput."""
    for kind, algorithms in ((ECKey, ("ES256",)), (RSAKey, ("RS256", "PS256"))):
        try:
            form = msgspec.json.decode(data) if data.lstrip().startswith(b"{") else data
            key = kind.import_key(form)
        except (JoseError, ValueError, TypeError, KeyError, msgspec.DecodeError):
            continue
        _check(key)
        return AssertionKey(key, algorithms)
    raise InvalidInput("not a public key: a JWK or PEM with an EC or RSA key")


def _check(key: Key) -> None:
    if key.is_private:
        raise InvalidInput("the private key of the service does not belong here")
    if isinstance(key, ECKey):
        if key.curve_name != "P-256":
            raise InvalidInput("an EC key is one of P-256")
    elif key.public_key.key_size < _LEAST_RSA_BITS:
        raise InvalidInput(f"an RSA key has at least {_LEAST_RSA_BITS} bits")
