"""What counts as the face and voice service's word, and that it counts once, in time."""

import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey

from kms.domain.ids import MeetingId
from kms.errors import AssertionRequired, ConfigurationError, InvalidInput
from kms.settings import Assertion
from kms.statements.assertion import read_key
from kms.statements.canonical import b64u, digest
from kms.usecases import assertions as module
from kms.usecases.assertions import Assertions, Door
from tests.fixtures.api import BANKING
from tests.fixtures.confidential import ISSUER, NOW, SITE, asserted, assertions, pem, service_key

MEETING = MeetingId("0193a5b0-7c3e-7000-8000-0123456789ab")
DEVICE = "d" * 43
DOOR = Door(SITE, BANKING, MEETING, DEVICE)
RSA = RSAKey.generate_key(2048)


def accept(by: Assertions, token: str, now: int = NOW, wanted: object = "a fetch") -> None:
    assert by.accept(token, DOOR, now, wanted) == {"assertion": digest(token.encode())}


def test_a_fresh_assertion_of_both_factors_counts() -> None:
    accept(assertions(), asserted(MEETING, DEVICE))
    accept(assertions(), asserted(MEETING, DEVICE, aud=["other", SITE], amr=["face", "voice", "x"]))


WRONG: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "another audience": {"aud": "other.example"},
    "another device": {"sub": "e" * 43},
    "another meeting": {"meeting": "0193a5b0-7c3e-7000-8000-0123456789ac"},
    "the face alone": {"amr": ["face"]},
    "no factor": {"amr": []},
    "too old": {"iat": NOW - 61},
    "of the future": {"iat": NOW + 60},
    "expired": {"exp": NOW},
    "no name of its own": {"jti": ""},
    "a fraction of a second": {"iat": NOW + 0.5},
    "a time as text": {"iat": str(NOW)},
    "critical headers": {"header": {"crit": ["b64"], "b64": False}},
    "another key": {"key": ECKey.generate_key("P-256")},
    "another algorithm": {"key": RSA, "alg": "RS256"},
    **{
        f"no {name}": {name: None}
        for name in ("iss", "aud", "sub", "meeting", "amr", "iat", "exp", "jti")
    },
}


@pytest.mark.parametrize("wrong", WRONG)
def test_whatever_is_wrong_the_answer_is_the_same(wrong: str) -> None:
    given = {"jti": "one", **WRONG[wrong]}
    with pytest.raises(AssertionRequired) as caught:
        accept(assertions(), asserted(MEETING, DEVICE, **given))
    assert str(caught.value) == str(module.refused())


def test_a_secret_made_of_the_public_key_signs_nothing() -> None:
    """The public key's bytes as an HMAC key (algorithm confusion), and no algorithm at all."""
    said = b64u(b'{"alg":"HS256"}') + "." + asserted(MEETING, DEVICE).split(".")[1]
    mac = hmac.digest(service_key().as_pem(private=False), said.encode(), "sha256")
    forged = f"{said}.{b64u(mac)}"
    none = "eyJhbGciOiJub25lIn0." + asserted(MEETING, DEVICE).split(".")[1] + "."
    for token in (forged, none, "", "a.b.c", "é.é.é", "x" * 9000, asserted(MEETING, DEVICE)[:-4]):
        with pytest.raises(AssertionRequired):
            accept(assertions(), token)


def test_an_assertion_is_used_once_but_the_same_request_may_look_again() -> None:
    by, token, first = assertions(), asserted(MEETING, DEVICE), object()
    accept(by, token, wanted=first)
    accept(by, token, wanted=first)
    for _ in range(2):
        with pytest.raises(AssertionRequired):
            accept(by, token, wanted=object())
    again = asserted(MEETING, DEVICE, exp=NOW + 50)
    with pytest.raises(AssertionRequired):
        accept(by, again)


def test_nothing_that_was_used_counts_again_after_a_restart() -> None:
    """Dated as far ahead as is accepted, and used in the last moment before the restart."""
    for iat in range(NOW - 5, NOW + 9):
        token = asserted(MEETING, DEVICE, iat=iat, exp=NOW + 90)
        try:
            accept(assertions(), token)
        except AssertionRequired:
            continue
        for later in range(NOW, NOW + 70):
            with pytest.raises(AssertionRequired):
                accept(assertions(NOW), token, later)


def test_soon_after_a_restart_new_assertions_count() -> None:
    later = NOW + 5
    token = asserted(MEETING, DEVICE, iat=later, exp=later + 60)
    accept(assertions(NOW), token, later)


def test_memory_is_bounded_and_a_full_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_USED", 2)
    by = assertions()
    for name in ("one", "two"):
        accept(by, asserted(MEETING, DEVICE, name))
    with pytest.raises(AssertionRequired):
        accept(by, asserted(MEETING, DEVICE, "three"))
    later = NOW + 61
    accept(by, asserted(MEETING, DEVICE, "four", iat=later, exp=later + 9), now=later)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 130)), max_size=12))
def test_nothing_counts_twice_or_out_of_its_time(tries: list[tuple[int, int]]) -> None:
    by, used, now = assertions(), set(), NOW
    for name, step in tries:
        now = max(now, NOW + step)
        token = asserted(MEETING, DEVICE, str(name))
        may = name not in used and now < NOW + 60
        if may:
            accept(by, token, now, object())
            used.add(name)
        else:
            with pytest.raises(AssertionRequired):
                accept(by, token, now, object())


def test_the_services_key_is_read_as_jwk_or_pem() -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert read_key(pem(public)).algorithms == ("ES256",)
    assert read_key(json.dumps(service_key().as_dict(private=False)).encode()).algorithms == (
        "ES256",
    )
    assert read_key(RSA.as_pem(private=False)).algorithms == ("RS256", "PS256")
    by = Assertions(assertions().settings, read_key(RSA.as_pem(private=False)), NOW - 60)
    for number, alg in enumerate(("RS256", "PS256")):
        accept(by, asserted(MEETING, DEVICE, str(number), key=RSA, alg=alg))


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"{",
        b"not a key",
        service_key().as_pem(private=True),
        json.dumps(service_key().as_dict(private=True)).encode(),
        pem(ec.generate_private_key(ec.SECP384R1()).public_key()),
        pem(rsa.generate_private_key(65537, 1024).public_key()),
        b'{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}',
    ],
    ids=["empty", "no JWK", "cut", "text", "private PEM", "private JWK", "P-384", "short", "oct"],
)
def test_another_key_is_refused_when_the_service_starts(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        read_key(data)
    path = tmp_path / "key"
    path.write_bytes(data)
    settings = Assertion(issuer=ISSUER, audience=SITE, key=path)
    with pytest.raises(ConfigurationError):
        Assertions.load(settings, NOW)
    path.unlink()
    with pytest.raises(ConfigurationError):
        Assertions.load(settings, NOW)
    assert Assertions.load(None, NOW) is None
