"""The tables of who shows to be at a device, and their check."""

from pathlib import Path
from typing import Annotated

import msgspec

from kms.domain.passkeys import MOST_PRESENCE_SECONDS
from kms.errors import ConfigurationError
from kms.settings.board import Board
from kms.settings.values import split_origin
from kms.strict import Section


class AssertionWebAuthn(Section, frozen=True):
    """Where invited people's passkeys are used. Without this table none of them counts."""

    rp_id: str
    """The relying party's name, such as meet.bank.internal."""
    origins: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Where the meetings' own pages are, such as https://meet.bank.internal; not the board's."""
    maximum_age_seconds: Annotated[int, msgspec.Meta(ge=1, le=MOST_PRESENCE_SECONDS)] = 60
    """How long after its own time a statement of presence counts."""


class Assertion(Section, frozen=True):
    """Who shows to be at a device. Without this table no meeting is confidential."""

    issuer: str = ""
    """The name of the bank's own face and voice service: the claim iss."""
    audience: str = ""
    """This site's name there: in the claim aud."""
    key: Path | None = None
    """The service's public key: a JWK or PEM, P-256 (ES256) or RSA (RS256, PS256). issuer, audience
    and key go together; without them there is no service."""
    maximum_age_seconds: Annotated[int, msgspec.Meta(ge=1, le=600)] = 60
    """How long after the claim iat an assertion counts."""
    required_factors: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("face", "voice")
    """What the claim amr must hold, all of it."""
    webauthn: AssertionWebAuthn | None = None


def check_assertion(assertion: Assertion, board: Board | None) -> None:
    """Raise ConfigurationError unless the table is whole and its origins are not the board's."""
    service = (assertion.issuer, assertion.audience, assertion.key)
    if any(service) != all(service) or not (all(service) or assertion.webauthn):
        raise ConfigurationError(
            "[assertion] names issuer, audience and key of a service, or [assertion.webauthn]"
        )
    rules = assertion.webauthn
    for origin in rules.origins if rules else ():
        scheme, host, _ = split_origin(origin, "[assertion.webauthn] origins")
        if scheme != "https" and host != "localhost":
            raise ConfigurationError(f"{origin}: http is for localhost alone")
        if rules and host != rules.rp_id and not host.endswith(f".{rules.rp_id}"):
            raise ConfigurationError(f"{origin} is not of the relying party {rules.rp_id}")
        if board and board.origin == origin:
            raise ConfigurationError(
                f"{origin} is the board's", hint="its passkeys are for sign-in and approvals alone"
            )
