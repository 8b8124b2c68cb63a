"""An attacker with the user PIN against a vault envelope; the list is in fixtures/attacks.py."""

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pkcs11 import Attribute, ObjectClass
from pkcs11.exceptions import AttributeReadOnly

from kms.domain.models import ReleaseClass
from kms.errors import HsmUnavailable
from kms.hsm import templates
from kms.hsm.labels import Kind, named
from kms.hsm.login import Login
from tests.fixtures.attacks import (
    POSSIBLE,
    REFUSED,
    Attack,
    attempt,
    control_target,
    real_envelope,
    real_target,
    threat_table,
)
from tests.fixtures.softhsm import SoftHsm

A = Attribute
TREASURY = "space-treasury"


def named_by_attack(attacks: tuple[Attack, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("attack", attacks, ids=[attack.name for attack in attacks])


@named_by_attack(REFUSED)
def test_the_token_refuses_it_on_a_real_envelope(softhsm: SoftHsm, attack: Attack):
    with softhsm.token(TREASURY) as token:
        envelope = real_envelope(token)
    with softhsm.token(TREASURY, writable=True) as attacker:
        assert not attempt(attack, real_target(attacker, envelope))


@named_by_attack(REFUSED)
def test_it_succeeds_on_a_control_without_the_protection(softhsm: SoftHsm, attack: Attack):
    with softhsm.token(TREASURY, writable=True) as attacker:
        assert attack.run(control_target(attacker, attack))


@named_by_attack(POSSIBLE)
def test_it_remains_possible_and_is_listed(softhsm: SoftHsm, attack: Attack):
    with softhsm.token(TREASURY) as token:
        envelope = real_envelope(token)
    with softhsm.token(TREASURY, writable=True) as attacker:
        assert attack.run(real_target(attacker, envelope))
    assert (attack.goal, "possible", attack.follows) in threat_table()


def test_a_user_makes_no_trusted_key_and_an_officer_does(softhsm: SoftHsm):
    own = rsa.generate_private_key(65537, 3072).public_key()
    trusted = templates.trusted_rsa(named(Kind.SERVER, "rogue"), b"r" * 32, own)
    with softhsm.token(TREASURY, writable=True) as attacker:
        with pytest.raises(HsmUnavailable, match="ATTRIBUTE_READ_ONLY"):
            attacker.create(trusted)
        assert attacker.create(trusted | {A.TRUSTED: False}) is not None
    with softhsm.token(TREASURY, Login.OFFICER) as officer:
        officer.create(trusted)
    with softhsm.token(TREASURY) as token:
        key = token.generate_secret(templates.epoch_key(ReleaseClass.TRUSTED))
        rogue = token.find(ObjectClass.PUBLIC_KEY, named(Kind.SERVER, "rogue"))
        assert len(token.wrap(rogue.handle, key)) == 3072 // 8


def test_a_user_does_not_make_a_key_trusted_that_is_there(softhsm: SoftHsm):
    own = rsa.generate_private_key(65537, 3072).public_key()
    template = templates.device_public(own) | {A.MODIFIABLE: True, A.LABEL: "mine"}
    with softhsm.token(TREASURY, writable=True) as attacker:
        key = attacker.create(template)
        key[A.LABEL] = "still mine"
        assert key[A.LABEL] == "still mine"
        with pytest.raises(AttributeReadOnly):
            key[A.TRUSTED] = True


def test_an_epoch_key_at_birth_is_as_closed_as_an_opened_one(softhsm: SoftHsm):
    own = rsa.generate_private_key(65537, 3072).public_key()
    with softhsm.token(TREASURY) as token:
        key = token.generate_secret(templates.epoch_key(ReleaseClass.TRUSTED))
        with pytest.raises(HsmUnavailable, match="KEY_NOT_WRAPPABLE"):
            token.wrap(token.create(templates.device_public(own)), key)
    with softhsm.token(TREASURY) as token:
        key = token.generate_secret(templates.epoch_key(ReleaseClass.ROSTER))
        assert len(token.wrap(token.create(templates.device_public(own)), key)) == 3072 // 8
