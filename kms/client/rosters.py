"""What a meeting server in a ``roster`` space makes: the meeting's id and its signed roster. And
what the host of a confidential meeting makes: invitations.
"""

import base64
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from uuid_utils import uuid7

from kms.domain.ids import MeetingId, RecipientId
from kms.statements import jws
from kms.statements.invitation import Invitation, InvitedPasskey, host_spki, sign_invitation
from kms.statements.roster import RosterStatement, sign_roster


def new_meeting() -> MeetingId:
    """Return a fresh id for a meeting (UUIDv7), which its roster has to name before it opens."""
    return MeetingId(str(uuid7()))


def device_recipient(certificate: x509.Certificate) -> RecipientId:
    """Return the id under which manifests name a device: its key's SPKI hash."""
    return RecipientId(jws.spki_id(certificate.public_key()))


def signed_roster(
    key: ec.EllipticCurvePrivateKey,
    devices: Sequence[x509.Certificate],
    *,
    space: str,
    meeting: str,
    version: int,
    issued: int,
    host: ec.EllipticCurvePublicKey | None = None,
    invitations: Sequence[str] = (),
) -> str:
    """Return a roster as a JWS by the space's roster authority (EC P-256).

    ``version`` is 1 when the meeting opens and one more for every change; ``issued`` is in whole
    seconds. The order of ``devices`` is the order of sender indices. A confidential meeting's
    rosters all name the same ``host`` and carry its invitation of each device, the host's own too.
    """
    encoded = (base64.b64encode(d.public_bytes(Encoding.DER)).decode("ascii") for d in devices)
    named = "" if host is None else host_spki(host)
    statement = RosterStatement(
        space, meeting, version, issued, tuple(encoded), named, tuple(invitations)
    )
    return sign_roster(statement, key)


def make_invitation(
    host: ec.EllipticCurvePrivateKey,
    device: x509.Certificate,
    *,
    site: str,
    space: str,
    meeting: str,
    issued: int,
    expires: int,
    passkey: InvitedPasskey | None = None,
) -> str:
    """Return the host's invitation of a device to a confidential meeting, as a JWS.

    ``host`` (EC P-256) stays with the host's device; ``issued`` and ``expires`` are whole seconds:
    let it end with the meeting, since a rotation after it fails. ``passkey`` is the invited
    person's own, if that shows who is at the device (presence.py).
    """
    named = device_recipient(device)
    invitation = Invitation(site, space, meeting, named, issued, expires, passkey)
    return sign_invitation(invitation, host)
