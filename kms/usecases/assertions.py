"""Assertions in use: fresh by the service's clock, for this device and meeting, and used once.

Either the bank's face and voice service says who is there (a JWT), or the invited person's passkey
(a statement of presence). Whatever is wrong with one, the answer is the same. What was used is kept
in memory alone: what the process before this one may have accepted counts as used.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from kms.errors import AssertionRequired, ConfigurationError, InvalidInput, VerificationFailed
from kms.settings import Assertion
from kms.statements.assertion import AssertionKey, Claims, read_key
from kms.statements.canonical import digest
from kms.statements.presence import Shown, is_presence, verify_presence
from kms.statements.roster import check_carries

MOST_USED = 100_000
"""Assertions remembered at most; while so many are fresh, no other is accepted."""
_SKEW = 3
"""By how many seconds the clock of who asserts may be ahead."""
_MESSAGE: Final = "the meeting is confidential: this key wants a fresh assertion of who is there"


@dataclass(frozen=True, slots=True)
class Door:
    """What somebody must be at: a device of a meeting. ``host`` is the meeting's, ``roster`` its
    present statement (JWS); ``passkeys`` are the ids of those that are for other things.
    """

    site: str
    space: str
    meeting: str
    device: str
    host: str = ""
    roster: str = ""
    passkeys: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Assertions:
    """Accepts assertions; ``since``: when this process began (seconds). ``key`` is the face and
    voice service's, None without one.
    """

    settings: Assertion
    key: AssertionKey | None
    since: int
    _used: dict[tuple[str, str], tuple[int, object]] = field(default_factory=dict)

    @classmethod
    def load(cls, settings: Assertion | None, since: int) -> "Assertions | None":
        """Return what the configuration says, None if it names no way to assert; raise
        ConfigurationError.
        """
        if settings is None or settings.key is None:
            return None if settings is None else cls(settings, None, since)
        try:
            return cls(settings, read_key(settings.key.read_bytes()), since)
        except OSError as error:
            raise ConfigurationError(f"cannot read {settings.key}: {error.strerror}") from error
        except InvalidInput as error:
            raise ConfigurationError(f"{settings.key}: {error.message}") from error

    def accept(self, token: str, door: Door, now: int, wanted: object) -> dict[str, str]:
        """Return how the log names an assertion that counts, now and for this; raise
        AssertionRequired.

        ``wanted`` is what it is used for: the same object may come again with it, no other.
        """
        if is_presence(token):
            if self._is_shown(token, door, now, wanted):
                return {"presence": token}
        elif self._is_said(token, door, now, wanted):
            return {"assertion": digest(token.encode())}
        raise refused()

    # --- by the face and voice service ------------------------------------------------------------

    def _is_said(self, token: str, door: Door, now: int, wanted: object) -> bool:
        if self.key is None:
            return False
        try:
            claims = self.key.verify(token)
        except VerificationFailed:
            return False
        age = self.settings.maximum_age_seconds
        named = (claims.iss, claims.sub, claims.meeting)
        return (
            named == (self.settings.issuer, door.device, door.meeting)
            and self._is_for_us(claims)
            and self._is_fresh(claims.iat, age, now)
            and now < claims.exp
            and bool(claims.jti)
            and self._use(("assertion", claims.jti), claims.iat + age, now, wanted)
        )

    def _is_for_us(self, claims: Claims) -> bool:
        audience = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
        return self.settings.audience in audience and not (
            set(self.settings.required_factors) - set(claims.amr)
        )

    # --- by the invited person's passkey ----------------------------------------------------------

    def _is_shown(self, token: str, door: Door, now: int, wanted: object) -> bool:
        rules = self.settings.webauthn
        if rules is None:
            return False
        try:
            shown = verify_presence(token, door.host)
            check_carries(door.roster, shown.token)
        except VerificationFailed:
            return False
        age, issued = rules.maximum_age_seconds, shown.presence.issued
        return (
            _is_at(shown, door)
            and (shown.passkey.rp_id, shown.passkey.origin in rules.origins) == (rules.rp_id, True)
            and shown.invitation.in_force(now)
            and self._is_fresh(issued, age, now)
            and self._use(("presence", shown.digest), issued + age, now, wanted)
        )

    # --- both -------------------------------------------------------------------------------------

    def _is_fresh(self, issued: int, age: int, now: int) -> bool:
        return now - age <= issued <= now + _SKEW and issued > self.since + _SKEW

    def _use(self, name: tuple[str, str], until: int, now: int, wanted: object) -> bool:
        """Remember an assertion as long as it could be fresh; return whether it is new."""
        known = self._used.get(name)
        if known is not None:
            return known[1] is wanted
        if len(self._used) >= MOST_USED:
            self._forget(now)
        if len(self._used) >= MOST_USED:
            return False
        self._used[name] = (until, wanted)
        return True

    def _forget(self, now: int) -> None:
        for name in [one for one, (until, _) in self._used.items() if until < now]:
            del self._used[name]


def _is_at(shown: Shown, door: Door) -> bool:
    """Whether this is of the meeting and device, by a passkey that is for nothing else."""
    told = shown.presence
    place = (door.site, door.space, door.meeting, door.device)
    return (told.site, told.space, told.meeting, told.device) == place and (
        shown.passkey.credential not in door.passkeys
    )


def refused() -> AssertionRequired:
    """Return the one answer."""
    return AssertionRequired(
        _MESSAGE,
        hint="by the face and voice service with every factor, or by the invited passkey; each "
        "counts once",
    )
