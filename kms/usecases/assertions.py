"""Assertions in use: fresh by the service's clock, for this device and meeting, and used once.

Whatever is wrong with one, the answer is the same. What was used is kept in memory alone: what the
process before this one may have accepted counts as used.
"""

from dataclasses import dataclass, field
from typing import Final

from kms.errors import AssertionRequired, ConfigurationError, InvalidInput, VerificationFailed
from kms.settings import Assertion
from kms.statements.assertion import AssertionKey, Claims, read_key

MOST_USED = 100_000
"""Assertions remembered at most; while so many are fresh, no other is accepted."""
_SKEW = 3
"""By how many seconds the clock of the face and voice service may be ahead."""
_MESSAGE: Final = "the meeting is confidential: this key wants a fresh assertion of who is there"


@dataclass(frozen=True, slots=True)
class Assertions:
    """Accepts assertions by the bank's service; ``since``: when this process began (seconds)."""

    settings: Assertion
    key: AssertionKey
    since: int
    _used: dict[str, tuple[int, object]] = field(default_factory=dict)

    @classmethod
    def load(cls, settings: Assertion | None, since: int) -> "Assertions | None":
        """Return what the configuration says, None if it names no service; raise
        ConfigurationError.
        """
        if settings is None:
            return None
        try:
            return cls(settings, read_key(settings.key.read_bytes()), since)
        except OSError as error:
            raise ConfigurationError(f"cannot read {settings.key}: {error.strerror}") from error
        except InvalidInput as error:
            raise ConfigurationError(f"{settings.key}: {error.message}") from error

    def accept(self, token: str, device: str, meeting: str, now: int, wanted: object) -> None:
        """Raise AssertionRequired unless the assertion counts, now and for this.

        ``wanted`` is what it is used for: the same object may come again with it, no other.
        """
        if not self._holds(token, device, meeting, now, wanted):
            raise refused()

    def _holds(self, token: str, device: str, meeting: str, now: int, wanted: object) -> bool:
        try:
            claims = self.key.verify(token)
        except VerificationFailed:
            return False
        named = (claims.iss, claims.sub, claims.meeting)
        return (
            named == (self.settings.issuer, device, meeting)
            and self._is_for_us(claims)
            and self._is_fresh(claims, now)
            and self._use(claims, now, wanted)
        )

    def _is_for_us(self, claims: Claims) -> bool:
        audience = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
        return self.settings.audience in audience and not (
            set(self.settings.required_factors) - set(claims.amr)
        )

    def _is_fresh(self, claims: Claims, now: int) -> bool:
        young = now - self.settings.maximum_age_seconds <= claims.iat <= now + _SKEW
        return young and claims.iat > self.since + _SKEW and now < claims.exp

    def _use(self, claims: Claims, now: int, wanted: object) -> bool:
        """Remember an assertion as long as it could be fresh; return whether it is new."""
        known = self._used.get(claims.jti)
        if known is not None:
            return known[1] is wanted
        if len(self._used) >= MOST_USED:
            self._forget(now)
        if not claims.jti or len(self._used) >= MOST_USED:
            return False
        self._used[claims.jti] = (claims.iat + self.settings.maximum_age_seconds, wanted)
        return True

    def _forget(self, now: int) -> None:
        for jti in [one for one, (until, _) in self._used.items() if until < now]:
            del self._used[jti]


def refused() -> AssertionRequired:
    """Return the one answer."""
    return AssertionRequired(
        _MESSAGE, hint="ask the face and voice service for one with every factor; each counts once"
    )
