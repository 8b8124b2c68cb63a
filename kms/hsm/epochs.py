"""Reads a stored epoch's manifest and addenda for a worker.

What this token's manifest keys signed has to hold. What other keys signed, as before a restoration,
is known to the worker by the MAC of the row alone.
"""

from kms.domain.models import Epoch
from kms.errors import IntegrityFailure, VerificationFailed
from kms.hsm.keyring import SpaceKeyring
from kms.statements import jws
from kms.statements.addendum import TYP as ADDENDUM
from kms.statements.manifest import TYP as MANIFEST
from kms.statements.manifest import subject
from kms.statements.readers import Readers, peek_readers


def readers_of(keys: SpaceKeyring, site: str, epoch: Epoch) -> Readers:
    """Return who reads an epoch whose row's MAC has held.

    Raise IntegrityFailure for a manifest of another epoch, or a signature that does not hold.
    """
    readers = peek_readers(epoch.manifest, epoch.addenda)
    told = (readers.manifest.iss, readers.manifest.sub)
    if told != (site, subject(epoch.space, epoch.meeting, epoch.epoch)):
        raise IntegrityFailure(f"the manifest is not that of {epoch.meeting}/{epoch.epoch}")
    try:
        _check_signed(keys, epoch.manifest, MANIFEST)
        for addendum in epoch.addenda:
            _check_signed(keys, addendum, ADDENDUM)
    except VerificationFailed as error:
        raise IntegrityFailure(f"{epoch.meeting}/{epoch.epoch}: {error.message}") from error
    return readers


def _check_signed(keys: SpaceKeyring, token: str, typ: str) -> None:
    key = keys.manifest_keys.get(jws.key_id(token, typ=typ))
    if key is not None:
        jws.verify(token, typ=typ, key=key)
