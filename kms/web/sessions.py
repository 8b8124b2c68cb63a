"""Sessions of the board: in memory, short, bound to one browser, revocable; a restart ends all.

A session begins anonymous, to hold what a form and a challenge need; whoever signs in gets another
one, so that a cookie that was known before is worth nothing afterwards.
"""

import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kms.domain.models import Principal, Strength
from kms.settings import Board
from kms.web.crowd import Crowd

_BYTES = 32
MOST_OF_PERSON = 5
"""Sessions that one person can have at a time."""
_ANONYMOUS_SECONDS = 600
_DRAFT_SECONDS = 600
_MOST_DRAFTS = 8


@dataclass(slots=True)
class Session:
    """One browser's session; times on the monotonic clock, in seconds.

    ``bound`` is what the browser said of itself when the session began, ``spki`` the key of the
    client certificate that it must go on showing (empty: none). ``csrf`` stands in every form.
    ``confirmed`` is when a passkey last proved who it is: a client certificate alone never does.
    ``drafts`` wait for a passkey's answer, by what each is about: challenges, and what is to be
    signed.
    """

    id: str
    csrf: str
    bound: str
    began: float
    used: float
    principal: Principal | None = None
    spki: str = ""
    confirmed: float = -math.inf
    notice: tuple[str, str] | None = None
    drafts: OrderedDict[str, tuple[float, Any]] = field(default_factory=OrderedDict)

    def keep_draft(self, about: str, draft: Any) -> None:
        """Keep what the person may sign next, instead of an earlier one about the same; one too
        many forgets the oldest.
        """
        self.drafts[about] = (time.monotonic(), draft)
        self.drafts.move_to_end(about)
        while len(self.drafts) > _MOST_DRAFTS:
            self.drafts.popitem(last=False)

    def draft(self, about: str) -> Any:
        """Return what waits for a signature; None if nothing does, or it has waited too long."""
        made, draft = self.drafts.get(about, (-math.inf, None))
        return draft if time.monotonic() - made < _DRAFT_SECONDS else None

    def take_draft(self, about: str) -> Any:
        """Return what ``draft`` does, once."""
        found = self.draft(about)
        self.drafts.pop(about, None)
        return found


class Sessions:
    """Every session by its id."""

    def __init__(self, board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        self._board, self._clock = board, clock
        self._sessions: dict[str, Session] = {}
        self._crowd = Crowd()

    def begin(self, bound: str, address: str) -> Session:
        """Return a new session of nobody; one too many ends the oldest of these."""
        session = self._new(bound)
        for token in self._crowd.add(session.id, address):
            self.end(self._sessions[token])
        return session

    def enter(
        self, bound: str, principal: Principal, spki: str = ""
    ) -> tuple[Session, list[Session]]:
        """Return a new session of a person, and those that it ends: one too many ends the oldest
        of that person.
        """
        session = self._new(bound)
        session.principal, session.spki = principal, spki
        if principal.strength is Strength.TWO_FACTORS:
            session.confirmed = session.began
        ended = self.of_person(principal.name)[:-MOST_OF_PERSON]
        for one in ended:
            self.end(one)
        return session, ended

    def _new(self, bound: str) -> Session:
        now, token = self._clock(), secrets.token_urlsafe(_BYTES)
        session = Session(token, secrets.token_urlsafe(_BYTES), bound, now, now)
        self._sessions[token] = session
        return session

    def renew(self, session: Session) -> Session:
        """Return the session under a new id; the old one is worth nothing any more."""
        self.end(session)
        session.id = secrets.token_urlsafe(_BYTES)
        session.csrf = secrets.token_urlsafe(_BYTES)
        self._sessions[session.id] = session
        return session

    def lasted(self, session: Session) -> tuple[float, float]:
        """Return for how many seconds a session has lasted, and has not been used."""
        now = self._clock()
        return now - session.began, now - session.used

    def find(self, token: str, bound: str, spki: str, *, by_itself: bool = False) -> Session | None:
        """Return the session of a cookie if it is alive and this is its browser. What a page asks
        for ``by_itself`` is no use of it: a browser left alone does not keep it alive.
        """
        session = self._sessions.get(token)
        if session is None:
            return None
        now = self._clock()
        if now >= self.until(session):
            self.end(session)
            return None
        if session.bound != bound or session.spki != (spki if session.spki else ""):
            return None
        if not by_itself:
            session.used = now
        return session

    def until(self, session: Session) -> float:
        """Return when a session ends unless it is used, on the monotonic clock."""
        if session.principal is None:
            return session.used + _ANONYMOUS_SECONDS
        most = session.began + self._board.session_seconds
        return min(most, session.used + self._board.idle_seconds)

    def is_alive(self, session: Session) -> bool:
        """Whether a session still counts: for what goes on within it, such as a stream."""
        return self._sessions.get(session.id) is session and self._clock() < self.until(session)

    def confirm(self, session: Session) -> Session:
        """Remember that the person proved who it is now, under a new id."""
        session.confirmed = self._clock()
        return self.renew(session)

    def is_confirmed(self, session: Session) -> bool:
        """Whether the person proved who it is lately enough for risky acts."""
        return self._clock() - session.confirmed < self._board.confirm_seconds

    def proof_age(self, session: Session) -> float:
        """Return for how many seconds the person has not proved who it is, in whatever way."""
        return self._clock() - max(session.began, session.confirmed)

    def end(self, session: Session) -> None:
        """End a session."""
        self._sessions.pop(session.id, None)
        self._crowd.remove(session.id)

    def of_person(self, name: str) -> list[Session]:
        """Return a person's sessions, the oldest first."""
        found = [
            one for one in self._sessions.values() if one.principal and one.principal.name == name
        ]
        return sorted(found, key=lambda one: one.began)
