"""Minting an epoch: check the roster, generate, wrap, commit, destroy, sign, seal.

The key exists only inside the token, as a session object that is destroyed whatever happens. Who
receives it is decided here from the token's TRUSTED objects and signed statements, never by the
caller. A failed mint is not tried again.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from pkcs11 import Mechanism

from kms.domain.grants import Share
from kms.domain.ids import parse_epoch, parse_meeting
from kms.domain.models import Envelope, Epoch, Meeting, ReleaseClass
from kms.domain.rows import SealedRow
from kms.domain.states import KeyState, MeetingState
from kms.errors import Forbidden, IntegrityFailure, InvalidInput, VerificationFailed
from kms.hsm.direct import PackedTemplate
from kms.hsm.keyring import Reader, SpaceKeyring
from kms.hsm.roster_check import RosterCheck
from kms.hsm.rows import RowSealer
from kms.hsm.templates import epoch_key
from kms.ports import Minted, MintOrder
from kms.statements import jws
from kms.statements.canonical import b64u, digest, make_row, read_row
from kms.statements.manifest import (
    TYP,
    Manifest,
    ManifestRecipient,
    commitment_context,
    media_of,
    subject,
)

_KEYS = {kind: PackedTemplate(epoch_key(kind)) for kind in ReleaseClass}


class Minter:
    """Mints the epochs of one space. ``wrap_alg`` is the JOSE name of the token's OAEP."""

    def __init__(
        self, site: str, space: str, wrap_alg: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._site = site
        self._space = space
        self._wrap_alg = wrap_alg
        self._rows = RowSealer(space)
        self._rosters = RosterCheck(site, space, clock)

    def mint(self, keys: SpaceKeyring, order: MintOrder) -> Minted:
        """Mint one epoch.

        Raise Forbidden for another space or site, InvalidInput for an order that does not fit
        together, VerificationFailed for a roster that does not hold, PKCS11Error.
        """
        self._check_order(order)
        others = self._rows.seal(keys, order.others)
        media = media_of(order.epoch)
        sub = subject(self._space, order.meeting.meeting, order.epoch)
        context = commitment_context(self._site, sub, keys.release_class, media)
        silent = self._silent(keys, order)
        wrapped, commitment = _wrap_for_all(keys, self._readers(keys, order, silent), context)
        manifest = Manifest(
            iss=self._site,
            sub=sub,
            iat=order.now,
            nbf=order.activates,
            exp=order.retires,
            release_class=keys.release_class,
            roster_version=order.roster.version,
            wrap_alg=self._wrap_alg,
            commitment=b64u(commitment),
            media=media,
            recipients=_named(wrapped, len(silent)),
            host=order.meeting.host,
        )
        rows = self._sign(keys, order, manifest, others)
        meeting = order.meeting
        return Minted(
            envelopes=tuple(
                Envelope(meeting.space, meeting.meeting, order.epoch, reader.id, blob)
                for reader, blob in wrapped
            ),
            rows=rows,
        )

    def _check_order(self, order: MintOrder) -> None:
        if order.site != self._site or order.meeting.space != self._space:
            raise Forbidden("this token keeps the keys of another space")
        parse_meeting(order.meeting.meeting)
        parse_epoch(order.epoch)
        whose = (order.roster.space, order.roster.meeting, order.roster.version)
        meeting = order.meeting
        if whose != (meeting.space, meeting.meeting, meeting.roster_version):
            raise InvalidInput("the roster is not the meeting's")
        if meeting.state is not MeetingState.OPEN or meeting.last_epoch != order.epoch:
            raise InvalidInput("the epoch is not the meeting's next")
        if not 0 <= order.activates < order.retires:
            raise InvalidInput("an epoch ends after it starts")

    def _silent(self, keys: SpaceKeyring, order: MintOrder) -> tuple[Reader, ...]:
        """Return the readers that send nothing: vault, escrow, and the partner's vault if both
        spaces approved it. Raise VerificationFailed.
        """
        meeting, share = order.meeting, order.share
        if not meeting.partner and share is None:
            return keys.always
        self._check_share(keys, meeting, share)
        return (*keys.always, keys.partner(meeting.partner))

    def _check_share(self, keys: SpaceKeyring, meeting: Meeting, share: SealedRow | None) -> None:
        """Raise VerificationFailed unless an approved request, whose row this token sealed, shared
        this meeting with this partner.
        """
        if share is None:
            raise VerificationFailed("nobody approved that the meeting is shared")
        try:
            self._rows.check(keys, (share,))
            record = read_row(share.row)
        except (IntegrityFailure, InvalidInput) as error:
            raise VerificationFailed("the share of the meeting does not hold") from error
        told = (meeting.space, meeting.meeting, meeting.partner)
        if not isinstance(record, Share) or (record.space, record.meeting, record.partner) != told:
            raise VerificationFailed("the share is of another meeting or partner")

    def _readers(
        self, keys: SpaceKeyring, order: MintOrder, silent: tuple[Reader, ...]
    ) -> Iterator[Reader]:
        """Yield the silent readers and the roster's, all checked before the first."""
        roster = order.roster.recipients
        if not roster or len(set(roster)) != len(roster):
            raise VerificationFailed("a roster names each recipient once")
        if any(own.id in roster for own in silent):
            raise VerificationFailed("vaults and escrow receive every key and are on no roster")
        if keys.release_class is ReleaseClass.TRUSTED:
            if order.meeting.host:
                raise VerificationFailed("a confidential meeting is one of devices")
            return iter((*silent, *map(keys.registered, roster)))
        devices = self._rosters.devices(keys, order.meeting, order.roster)
        return chain(silent, map(keys.device, devices))

    def _sign(
        self, keys: SpaceKeyring, order: MintOrder, manifest: Manifest, others: Sequence[SealedRow]
    ) -> tuple[SealedRow, ...]:
        """Sign the manifest; return the rows of epoch and meeting, and the others after them."""
        signed = jws.sign(
            manifest.encode(), typ=TYP, kid=keys.manifest_kid, signer=keys.sign_manifest
        )
        starts_now = order.activates <= order.now
        epoch = Epoch(
            space=order.meeting.space,
            meeting=order.meeting.meeting,
            epoch=order.epoch,
            state=KeyState.ACTIVE if starts_now else KeyState.PRE_ACTIVATION,
            reason=order.reason,
            activates=order.activates,
            retires=order.retires,
            roster_version=order.roster.version,
            manifest=signed,
        )
        own = (make_row(epoch, 1), make_row(order.meeting, order.meeting_version))
        return (*self._rows.seal_own(keys, own), *others)


def _wrap_for_all(
    keys: SpaceKeyring, readers: Iterable[Reader], context: bytes
) -> tuple[list[tuple[Reader, bytes]], bytes]:
    """Return each reader's blob and the commitment of a key that is gone afterwards."""
    calls = keys.calls
    key = calls.generate_aes(_KEYS[keys.release_class])
    try:
        wrapped = [(item, calls.wrap_oaep(item.handle, key, item.size)) for item in readers]
        return wrapped, calls.sign(key, Mechanism.AES_CMAC, context)
    finally:
        calls.destroy(key)


def _named(wrapped: Iterable[tuple[Reader, bytes]], silent: int) -> tuple[ManifestRecipient, ...]:
    """Return the manifest's recipients; those after the silent ones send, and are counted."""
    return tuple(
        ManifestRecipient(reader.id, reader.kind, reader.version, max(index, -1), digest(blob))
        for index, (reader, blob) in enumerate(wrapped, start=-silent)
    )
