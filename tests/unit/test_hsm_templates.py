"""Templates: packed before any call, wrong types refused, no dangerous combination in any."""

import struct
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from kms.domain.models import ReleaseClass
from kms.hsm import templates
from kms.hsm.attributes import Mapper, Template
from kms.hsm.cryptoki import CkAttribute
from kms.hsm.labels import Kind, disk_kek, named, numbered, vault_public
from kms.practice.certificates import make_authority

A = Attribute
RSA_KEY = rsa.RSAPublicNumbers(65537, (1 << 3071) | 1).public_key()
EC_KEY = ec.derive_private_key(7, ec.SECP256R1()).public_key()
ID = bytes(32)
DISK = "0193a5b0-7c3e-7000-8000-0123456789ab"


def anchor() -> x509.Certificate:
    return make_authority("A device CA").certificate


LASTING_SECRETS = {
    "vault": templates.vault_private(numbered(Kind.VAULT, 1)),
    "signing": templates.signing_private(numbered(Kind.MANIFEST, 1)),
    "row-mac": templates.row_mac(numbered(Kind.ROW_MAC, 1)),
    "disk-kek": templates.disk_kek(disk_kek(DISK, 1)),
}
TRUSTED = {
    "vault": templates.trusted_rsa(vault_public(1, ReleaseClass.ROSTER), ID, RSA_KEY),
    "disk-escrow": templates.disk_escrow_public(numbered(Kind.DISK_ESCROW, 1), ID, RSA_KEY),
    "server": templates.trusted_rsa(named(Kind.SERVER, "ms"), ID, RSA_KEY),
    "authority": templates.trusted_ec(named(Kind.ROSTER_AUTHORITY, "ms"), ID, EC_KEY),
    "anchor": templates.trusted_certificate(named(Kind.DEVICE_ANCHOR, "ca"), ID, anchor()),
}
PASSING = {
    "epoch-trusted": templates.epoch_key(ReleaseClass.TRUSTED),
    "epoch-roster": templates.epoch_key(ReleaseClass.ROSTER),
    "epoch-opened": templates.UNWRAP_EPOCH,
    "device": templates.device_public(RSA_KEY),
    "public-half": templates.passing_public(KeyType.RSA),
    "escrow-birth": templates.escrow_private_passing(),
    "escrow-recovered": templates.escrow_recovered(),
    "disk-escrow-recovered": templates.disk_escrow_recovered(),
    "disk-escrow-proof": templates.encrypting_public(RSA_KEY),
    "swk-wraps": templates.share_wrapping_key(ID),
    "swk-unwraps": templates.share_unwrapping_key(ID),
}
STATE = {"checkpoint-state": templates.checkpoint_state(b"{}")}
EVERY = {**LASTING_SECRETS, **TRUSTED, **{f"{k}-passing": v for k, v in PASSING.items()}, **STATE}
USES = {A.ENCRYPT, A.DECRYPT, A.SIGN, A.VERIFY, A.WRAP, A.UNWRAP, A.DERIVE}


def each(group: dict[str, Template]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("template", group.values(), ids=list(group))


def uses(template: Template) -> set[Attribute]:
    return {use for use in USES if template.values.get(use)}


@each(EVERY)
def test_no_key_combines_uses_that_leak(template: Template):
    for pair in (
        {A.WRAP, A.DECRYPT},
        {A.UNWRAP, A.ENCRYPT},
        {A.WRAP, A.UNWRAP},
        {A.SIGN, A.DECRYPT},
    ):
        assert not pair <= uses(template)
    assert A.DERIVE not in uses(template)


@each(EVERY)
def test_nothing_can_be_changed_or_copied_and_everything_says_so(template: Template):
    assert template.values[A.MODIFIABLE] is False
    assert template.values[A.COPYABLE] is False
    assert {A.CLASS, A.TOKEN, A.PRIVATE} <= set(template.values)


@each(LASTING_SECRETS)
def test_lasting_secrets_never_leave(template: Template):
    values = template.values
    assert (values[A.SENSITIVE], values[A.EXTRACTABLE], values[A.PRIVATE]) == (True, False, True)
    assert A.ALLOWED_MECHANISMS in values


@each(TRUSTED)
def test_what_is_trusted_can_be_revoked(template: Template):
    assert template.values[A.TRUSTED] is True
    assert template.values[A.DESTROYABLE] is True


def test_only_what_officers_create_is_trusted():
    others = {**LASTING_SECRETS, **PASSING, **STATE}
    assert not any(template.values.get(A.TRUSTED) for template in others.values())


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (LASTING_SECRETS["vault"], {A.UNWRAP}),
        (LASTING_SECRETS["signing"], {A.SIGN}),
        (LASTING_SECRETS["row-mac"], {A.SIGN, A.VERIFY}),
        (LASTING_SECRETS["disk-kek"], {A.ENCRYPT, A.DECRYPT}),
        (TRUSTED["vault"], {A.WRAP}),
        (TRUSTED["disk-escrow"], {A.ENCRYPT}),
        (TRUSTED["authority"], {A.VERIFY}),
        (PASSING["epoch-trusted"], {A.SIGN}),
        (PASSING["epoch-opened"], {A.SIGN}),
        (PASSING["device"], {A.WRAP}),
        (PASSING["public-half"], set()),
        (PASSING["escrow-birth"], set()),
        (PASSING["disk-escrow-recovered"], {A.DECRYPT}),
        (PASSING["disk-escrow-proof"], {A.ENCRYPT}),
        (PASSING["swk-wraps"], {A.WRAP}),
        (PASSING["swk-unwraps"], {A.UNWRAP}),
    ],
)
def test_each_key_has_its_one_use(template: Template, expected: set[Attribute]):
    assert uses(template) == expected


def test_a_disk_s_kek_works_by_gcm_alone():
    """By CBC or CTR it would decrypt what no tag holds together."""
    kek = LASTING_SECRETS["disk-kek"]
    assert kek.values[A.ALLOWED_MECHANISMS] == (Mechanism.AES_GCM,)


def test_an_epoch_key_is_bound_to_trusted_keys_except_at_birth_in_a_roster_space():
    assert PASSING["epoch-trusted"].values[A.WRAP_WITH_TRUSTED] is True
    assert PASSING["epoch-roster"].values[A.WRAP_WITH_TRUSTED] is False
    assert PASSING["epoch-opened"].values[A.WRAP_WITH_TRUSTED] is True


def test_the_unwrap_call_repeats_the_unwrap_template():
    wanted = templates.UNWRAP_EPOCH.values.items()
    assert set(templates.EPOCH_UNWRAPPED.values.items()) <= set(wanted)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (A.LABEL, 5),
        (A.LABEL, b"bytes"),
        (A.ID, "text"),
        (A.ID, bytearray(3)),
        (A.TOKEN, 1),
        (A.TOKEN, None),
        (A.WRAP, "yes"),
        (A.CLASS, 3),
        (A.CLASS, KeyType.AES),
        (A.KEY_TYPE, ObjectClass.SECRET_KEY),
        (A.VALUE_LEN, True),
        (A.VALUE_LEN, -1),
        (A.VALUE_LEN, 32.0),
        (A.ALLOWED_MECHANISMS, ()),
        (A.ALLOWED_MECHANISMS, (1,)),
        (A.ALLOWED_MECHANISMS, [Mechanism.ECDSA]),
        (A.UNWRAP_TEMPLATE, {A.TOKEN: True}),
        (A.START_DATE, "20260101"),
        (A.WRAP_TEMPLATE, Template({})),
    ],
)
def test_a_wrong_type_never_reaches_the_module(attribute: Attribute, value: Any):
    with pytest.raises(TypeError):
        Template({attribute: value})


def test_values_are_packed_as_the_standard_wants():
    packed = Template(
        {
            A.TOKEN: True,
            A.LABEL: "é",
            A.CLASS: ObjectClass.SECRET_KEY,
            A.VALUE_LEN: 32,
            A.ALLOWED_MECHANISMS: (Mechanism.ECDSA, Mechanism.AES_CMAC),
        }
    ).packed
    assert packed[A.TOKEN] == b"\1"
    assert packed[A.LABEL] == "é".encode()
    assert packed[A.CLASS] == struct.pack("@L", 4)
    assert packed[A.VALUE_LEN] == struct.pack("@L", 32)
    assert packed[A.ALLOWED_MECHANISMS] == struct.pack("@LL", 0x1041, 0x108A)


def test_a_nested_template_points_to_buffers_that_it_keeps():
    outer = Template({A.UNWRAP_TEMPLATE: Template({A.SIGN: True, A.LABEL: "inside"})})
    rows = (CkAttribute * 2).from_buffer_copy(outer.packed[A.UNWRAP_TEMPLATE])
    assert [row.type for row in rows] == [int(A.SIGN), int(A.LABEL)]
    assert [row.ulValueLen for row in rows] == [1, 6]


def test_the_mapper_adds_nothing_of_its_own():
    mapper = Mapper()
    for made in (
        mapper.secret_key_template(capabilities=0, id_=b"i", label="l", store=True),
        mapper.public_key_template(capabilities=0, id_=b"i", label="l", store=True),
        mapper.private_key_template(capabilities=0, id_=b"i", label="l", store=True),
        mapper.generic_key_template({}, capabilities=0, id_=b"i", label="l", store=True),
    ):
        assert made == {}


def test_a_template_shows_no_values():
    assert "secret" not in repr(Template({A.LABEL: "secret", A.VALUE: b"secret"}))
