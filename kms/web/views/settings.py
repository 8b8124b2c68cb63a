"""Settings: one's own passkeys and sessions, and how the site is configured, to read.

Nothing here changes the configuration: that is the operators' file. No secret is shown.
"""

from dataclasses import dataclass

from starlette.responses import Response

from kms.errors import NotFound
from kms.i18n import _
from kms.settings import Board, Settings
from kms.statements.canonical import digest
from kms.usecases.passkeys.signing_in import sign_out
from kms.usecases.queries import site_status
from kms.web.roles import PEOPLE
from kms.web.sessions import Session
from kms.web.views import passkeys
from kms.web.visit import Kind, Page, Visit
from kms.web.words import duration

_ENDED = "ended by its person"


@dataclass(frozen=True, slots=True)
class Kept:
    """A session of one's own: its name for forms, and for how many seconds it lasts and rests."""

    handle: str
    lasted: float
    rested: float
    here: bool


async def _settings(visit: Visit) -> Response:
    status = await site_status(visit.services, visit.call("status.read"))
    settings = visit.services.settings
    return visit.show(
        "settings.html",
        passkeys=await passkeys.own_passkeys(visit),
        sessions=_sessions(visit),
        board_facts=_board_facts(visit.board),
        site_facts=_site_facts(settings),
        channels=_channels(settings),
        site_name=status.site,
    )


def _sessions(visit: Visit) -> list[Kept]:
    found = []
    for one in visit.sessions.of_person(visit.principal.name):
        lasted, rested = visit.sessions.lasted(one)
        found.append(Kept(_handle(one), lasted, rested, one is visit.session))
    return found


def _handle(session: Session) -> str:
    """Return what names a session in a form; the session's id itself opens it and is not shown."""
    return digest(session.id.encode())


def _board_facts(board: Board) -> tuple[tuple[str, str], ...]:
    by_certificate = _("yes") if board.client_ca is not None else _("no")
    return (
        (_("Where passkeys work"), board.origin),
        (_("Sign-in by client certificate"), by_certificate),
        (_("A session may rest for"), duration(board.idle_seconds)),
        (_("A session lasts at most"), duration(board.session_seconds)),
        (_("Risky acts are allowed after a confirmation for"), duration(board.confirm_seconds)),
        (_("Refused attempts before others wait"), str(board.most_failures)),
        (_("An invitation counts at most"), duration(board.invitation_seconds)),
    )


def _site_facts(settings: Settings) -> tuple[tuple[str, str], ...]:
    rotation, audit = settings.rotation, settings.audit
    return (
        (_("New key every"), _or_never(rotation.interval_seconds)),
        (_("A key's maximum age"), duration(rotation.epoch_seconds)),
        (_("Keys are kept after a meeting's end"), duration(rotation.retention_seconds)),
        (_("A vault key's time"), _or_never(rotation.vault_seconds)),
        (_("A checkpoint is signed every"), duration(audit.checkpoint_seconds)),
        (_("Key operations stop without one after"), duration(audit.grace_seconds)),
        (
            _("A disk's recovery key is tested every"),
            _or_never(settings.disks.recovery_test_seconds),
        ),
    )


def _or_never(seconds: float) -> str:
    return duration(seconds) if seconds else _("never by itself")


def _channels(settings: Settings) -> list[tuple[str, str, str, bool]]:
    """Return name, kind, least severity, and whether requests are told; never where to."""
    told = settings.notify
    kinds = ((told.webhook, "webhook"), (told.syslog, "syslog"), (told.mail, "mail"))
    return [
        (one.name, kind, one.severity.value, one.approvals)
        for channels, kind in kinds
        for one in channels
    ]


async def _end(visit: Visit) -> Response:
    handle = visit.form("session")
    found = [
        one for one in visit.sessions.of_person(visit.principal.name) if _handle(one) == handle
    ]
    if not found:
        raise NotFound("there is no such session of yours")
    await _end_sessions(visit, found)
    return _after(visit)


async def _end_all(visit: Visit) -> Response:
    await _end_sessions(visit, visit.sessions.of_person(visit.principal.name))
    return _after(visit)


async def _end_sessions(visit: Visit, sessions: list[Session]) -> None:
    for one in sessions:
        if one.principal is not None:
            await sign_out(visit.services, one.principal, _ENDED)
        visit.sessions.end(one)


def _after(visit: Visit) -> Response:
    """Go back to the settings, or to the sign-in if this session was among those that ended."""
    if visit.sessions.is_alive(visit.session):
        visit.tell(_("The session is ended."))
        return visit.go("/settings")
    visit.leave()
    visit.tell(_("You are signed out."))
    return visit.go("/sign-in")


PAGES = (
    Page("settings", "/settings", PEOPLE, _settings),
    Page("session-end", "/settings/sessions/end", PEOPLE, _end, Kind.ACT),
    Page("sessions-end", "/settings/sessions/end-all", PEOPLE, _end_all, Kind.ACT),
    *passkeys.PAGES,
)
