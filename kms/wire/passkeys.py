"""What is asked and answered about passkeys for the board. What counts in an invitation or an
admission is its JWS.
"""

from typing import Annotated

from pydantic import Field, StringConstraints

from kms.domain.passkeys import Purpose
from kms.wire.base import MAX_PAGE, Count, Jws, Text, Time, Wire
from kms.wire.lifecycle import Because

_Credential = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22,512}$")]
_Base64Url = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43,256}$")]


class PasskeyOut(Wire):
    """A passkey. ``spki`` is its public key (DER) and ``sha256`` the digest of that, both
    base64url; ``leaf`` enrolled it. ``admitted``: an admission is there, until ``expires``.
    """

    credential: _Credential
    person: Text
    purpose: Purpose
    name: Text
    spki: _Base64Url
    sha256: _Base64Url
    enrolled: Time
    leaf: Count
    revoked: Time | None = None
    admitted: bool
    expires: Time | None = None


class PasskeyPage(Wire):
    """A page of passkeys; ``next`` is the ``after`` of the following one. Beside it what people
    sign for: the ``site``, the board's ``origin`` and name (``rp_id``), and how long an invitation
    counts at most.
    """

    site: Text
    origin: Text
    rp_id: Text
    invitation_seconds: Count
    items: Annotated[tuple[PasskeyOut, ...], Field(max_length=MAX_PAGE)]
    next: Count | None = None


class InvitePasskey(Wire):
    """An invitation, signed by the person that it is for."""

    invitation: Jws


class InvitationOut(Wire):
    """An invitation that counts; the one-time code is known to whoever made it alone."""

    person: Text
    purpose: Purpose
    expires: Time
    board: Text


class AdmitPasskey(Wire):
    """An admission, signed by the person whose passkey it is."""

    admission: Jws


class RevokePasskey(Because):
    """Why a passkey is revoked."""
