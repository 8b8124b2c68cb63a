"""Passkeys for the board: list, look, invite, admit, revoke. Enrolling is the board's own."""

from starlette.responses import Response

from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply
from kms.api.routes.meetings import PAGING
from kms.domain.passkeys import Passkey
from kms.statements.canonical import digest, unb64u
from kms.statements.passkeys import peek_admission
from kms.usecases.passkeys.admitting import admit
from kms.usecases.passkeys.inviting import invite
from kms.usecases.passkeys.listing import list_passkeys, read_passkey
from kms.usecases.passkeys.people import board_of, party_of
from kms.usecases.passkeys.revoking import revoke
from kms.wire.base import rfc3339
from kms.wire.passkeys import (
    AdmitPasskey,
    InvitationOut,
    InvitePasskey,
    PasskeyOut,
    PasskeyPage,
    RevokePasskey,
)


def endpoints() -> tuple[Endpoint, ...]:
    """Return the endpoints."""
    return (
        Endpoint("passkey.list", _list, PasskeyPage, query=PAGING),
        Endpoint("passkey.read", _read, PasskeyOut),
        Endpoint("passkey.invite", _invite, InvitationOut, InvitePasskey),
        Endpoint("passkey.admit", _admit, PasskeyOut, AdmitPasskey),
        Endpoint("passkey.revoke", _revoke, PasskeyOut, RevokePasskey),
    )


def shown(passkey: Passkey) -> PasskeyOut:
    """Show a passkey."""
    admission = peek_admission(passkey.admission) if passkey.admission else None
    return PasskeyOut(
        credential=passkey.credential,
        person=passkey.person,
        purpose=passkey.purpose,
        name=passkey.name,
        spki=passkey.spki,
        sha256=digest(unb64u(passkey.spki)),
        enrolled=rfc3339(passkey.enrolled),
        leaf=passkey.leaf,
        revoked=rfc3339(passkey.revoked) if passkey.revoked else None,
        admitted=admission is not None,
        expires=rfc3339(admission.expires) if admission else None,
    )


async def _list(context: Context) -> Response:
    query = context.query("after", "limit")
    limit, after = query.limit(), query.number("after", 0) if query.text("after") else -1
    found = await list_passkeys(context.services, context.call, after, limit)
    party, settings = party_of(context.services), context.services.settings
    page = PasskeyPage(
        site=settings.site.id,
        origin=party.origin,
        rp_id=party.id,
        invitation_seconds=board_of(context.services).invitation_seconds,
        items=tuple(map(shown, found)),
        next=found[-1].leaf if len(found) == limit else None,
    )
    return json_reply(page)


async def _read(context: Context) -> Response:
    context.query()
    found = await read_passkey(context.services, context.call, context.credential)
    return json_reply(shown(found))


async def _invite(context: Context) -> Response:
    context.query()
    token = context.message(InvitePasskey).invitation
    found = await invite(context.services, context.call, token)
    reply = InvitationOut(
        person=found.person,
        purpose=found.purpose,
        expires=rfc3339(found.expires),
        board=party_of(context.services).origin,
    )
    return json_reply(reply)


async def _admit(context: Context) -> Response:
    context.query()
    token = context.message(AdmitPasskey).admission
    return json_reply(shown(await admit(context.services, context.call, context.credential, token)))


async def _revoke(context: Context) -> Response:
    context.query()
    reason = context.message(RevokePasskey).reason
    return json_reply(
        shown(await revoke(context.services, context.call, context.credential, reason))
    )
