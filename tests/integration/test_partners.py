"""Whom a space's worker takes for a partner: the newest vault that its token trusts."""

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from kms.domain.models import RecipientKind
from kms.errors import AlreadyExists, VerificationFailed
from kms.hsm.keyring import Reader, SpaceKeyring
from kms.hsm.token import Token
from kms.statements.canonical import digest
from kms.statements.jws import spki_der
from tests.fixtures.softhsm import SoftHsm

TREASURY = "space-treasury"
OLD, NEW = (spki_der(rsa.generate_private_key(65537, 3072).public_key()) for _ in range(2))


@pytest.fixture
def token(softhsm: SoftHsm) -> Iterator[Token]:
    officer = softhsm.officer(TREASURY)
    for version, spki in ((10, NEW), (2, OLD)):
        officer.trust_partner("lending", version, spki)
    with softhsm.token(TREASURY, writable=True) as opened:
        yield opened


def told(reader: Reader) -> tuple[str, str, int, int]:
    return reader.id, reader.kind, reader.version, reader.size


def test_the_newest_vault_of_a_partner_is_wrapped_to(token: Token):
    reader = SpaceKeyring(token).partner("lending")
    assert told(reader) == (digest(NEW), RecipientKind.PARTNER, 10, 384)


def test_who_is_no_partner_is_not_wrapped_to(token: Token):
    for name in ("treasury", "lend", "lending/10", ""):
        with pytest.raises(VerificationFailed, match="no vault"):
            SpaceKeyring(token).partner(name)


def test_a_partner_that_goes_while_a_session_lasts_is_not_wrapped_to_any_more(token: Token):
    keyring = SpaceKeyring(token)
    keyring.partner("lending")
    for item in token.objects():
        if item.label.name == "lending":
            token.destroy(item.handle)
    with pytest.raises(VerificationFailed, match="no vault"):
        keyring.partner("lending")


def test_a_partner_is_no_server_of_the_space(token: Token):
    with pytest.raises(VerificationFailed):
        SpaceKeyring(token).registered(digest(NEW))


def test_a_version_is_trusted_once(softhsm: SoftHsm):
    officer = softhsm.officer(TREASURY)
    officer.trust_partner("lending", 1, OLD)
    with pytest.raises(AlreadyExists):
        officer.trust_partner("lending", 1, NEW)
