"""Recoveries and new escrow keys on real SoftHSM: what is opened, for whom, and what is refused."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from pkcs11 import ObjectClass

from kms.ceremonies.ports import EscrowOpener, EscrowPair, RewrapItem, VaultOpener
from kms.domain.ids import RecipientId
from kms.domain.models import RecipientKind
from kms.errors import HsmUnavailable, IntegrityFailure, InvalidInput, NotFound
from kms.hsm import templates
from kms.hsm.faults import Action, TokenFault
from kms.hsm.keyring import Reader
from kms.hsm.labels import Kind, numbered
from kms.hsm.officer import OfficerToken
from kms.hsm.profile import Profile
from kms.hsm.rewrap import Rewrapper
from kms.statements.jws import spki_der
from tests.faults.plan import DIE, Fault, FaultPlan, Return
from tests.fixtures.envelopes import check_opens, make_envelopes, user
from tests.fixtures.faulty import faulty_profile, under_faults
from tests.fixtures.hsm import (
    PIN,
    SO_PIN,
    HsmSite,
    hsm_site,
    in_this_process,
    officer,
    software_keys,
)
from tests.fixtures.pins import KnownPins

LABEL = "space-t"
VAULT = "vault/1/trusted"
SERVER = "server/one"
GENERAL_ERROR, DEVICE_ERROR = 0x05, 0x30


@pytest.fixture(autouse=True)
def site() -> Iterator[HsmSite]:
    for made in hsm_site():
        with in_this_process(made):
            yield made


@pytest.fixture
def token() -> OfficerToken:
    return officer(LABEL)


@pytest.fixture
def envelopes() -> list[RewrapItem]:
    return make_envelopes(LABEL, VAULT, 3)


def software_escrow() -> EscrowOpener:
    """Return the opener of escrow/1, whose private half these tests keep in software."""
    pkcs8 = software_keys().escrow.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    swk = os.urandom(32)
    return EscrowOpener(swk, aes_key_wrap_with_padding(swk, pkcs8))


# what is opened


def test_vault_envelopes_go_to_every_target_in_order(
    token: OfficerToken, envelopes: list[RewrapItem]
):
    blobs = list(token.rewrap(VaultOpener(1), (SERVER, "escrow/1"), envelopes))
    check_opens(software_keys().server, [pair[0] for pair in blobs], envelopes)
    check_opens(software_keys().escrow, [pair[1] for pair in blobs], envelopes)


def test_escrow_envelopes_open_with_the_shares_key(token: OfficerToken):
    envelopes = make_envelopes(LABEL, "escrow/1", 2)
    blobs = list(token.rewrap(software_escrow(), (VAULT,), envelopes))
    again = [replace(item, blob=blob) for item, (blob,) in zip(envelopes, blobs, strict=True)]
    to_server = [blob for (blob,) in token.rewrap(VaultOpener(1), (SERVER,), again)]
    check_opens(software_keys().server, to_server, envelopes)


def test_a_lost_token_is_recovered_on_an_empty_one(token: OfficerToken):
    swk = os.urandom(32)
    pair = officer("site").generate_escrow(swk)
    token.trust_escrow(2, pair.spki)
    envelopes = make_envelopes(LABEL, "escrow/2", 2)
    token.erase()
    scratch = officer("scratch")
    scratch.initialise()
    named = software_keys().server
    scratch.trust_recipient(RecipientKind.SERVER, "recovery", spki_der(named.public_key()))
    opener = EscrowOpener(swk, pair.blob)
    blobs = [blob for (blob,) in scratch.rewrap(opener, ("server/recovery",), envelopes)]
    check_opens(named, blobs, envelopes)
    assert scratch.labels() == ("server/recovery",)


def test_nothing_that_opened_or_was_opened_stays_on_the_token(
    token: OfficerToken, envelopes: list[RewrapItem]
):
    before = token.dump()
    list(token.rewrap(software_escrow(), (VAULT,), make_envelopes(LABEL, "escrow/1", 2)))
    with user(LABEL) as session:
        assert len(list(session.session.get_objects())) == len(before)
    assert token.dump() == before


def test_items_are_taken_as_they_come(token: OfficerToken, envelopes: list[RewrapItem]):
    taken: list[RewrapItem] = []

    def coming() -> Iterator[RewrapItem]:
        for item in envelopes:
            taken.append(item)
            yield item

    blobs = token.rewrap(VaultOpener(1), (), coming())
    assert next(blobs) == ()
    assert taken == envelopes[:1]


# what is refused


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"commitment": bytes(16)}, "is of another context"),
        ({"commitment": b""}, "is of another context"),
        ({"context": b"context 0"}, "is of another context"),
        ({"blob": bytes(384)}, "does not open"),
        ({"blob": b"\1" * 384}, "does not open"),
        ({"blob": b"short"}, "does not open"),
        ({"blob": b""}, "does not open"),
    ],
)
def test_an_item_that_is_not_what_it_says_is_named_and_ends_the_work(
    token: OfficerToken, envelopes: list[RewrapItem], change: dict[str, bytes], reason: str
):
    envelopes[1] = replace(envelopes[1], **change)
    blobs = token.rewrap(VaultOpener(1), (SERVER,), envelopes)
    next(blobs)
    with pytest.raises(IntegrityFailure, match=f"envelope 1 {reason}"):
        next(blobs)
    assert list(blobs) == []


def test_an_envelope_in_the_place_of_another_is_found(
    token: OfficerToken, envelopes: list[RewrapItem]
):
    moved = replace(envelopes[0], blob=envelopes[2].blob)
    with pytest.raises(IntegrityFailure, match="envelope 0 is of another context"):
        list(token.rewrap(VaultOpener(1), (SERVER,), [moved]))


def test_another_keepers_envelope_does_not_open(token: OfficerToken):
    escrowed = make_envelopes(LABEL, "escrow/1", 1)
    with pytest.raises(IntegrityFailure, match="envelope 0 does not open"):
        list(token.rewrap(VaultOpener(1), (SERVER,), escrowed))


@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        ("server/unknown", NotFound),
        ("escrow/9", NotFound),
        ("manifest/1", InvalidInput),
        ("no label", InvalidInput),
    ],
)
def test_what_is_no_target_is_refused_before_anything_opens(
    token: OfficerToken, target: str, refusal: type[Exception]
):
    with pytest.raises(refusal):
        list(token.rewrap(VaultOpener(1), (SERVER, target), iter(_never())))


def _never() -> Iterator[RewrapItem]:
    raise AssertionError("an item was asked for")
    yield


def test_the_token_itself_wraps_to_no_key_that_it_does_not_trust(envelopes: list[RewrapItem]):
    stranger = templates.device_public(software_keys().server.public_key())
    with user(LABEL) as session:
        private = session.find(ObjectClass.PRIVATE_KEY, numbered(Kind.VAULT, 1)).handle
        handle = session.create(stranger).handle
        target = Reader(RecipientId("stranger"), RecipientKind.SERVER, 0, handle, 384)
        with pytest.raises(TokenFault, match=r"envelope 0: .* CKR_KEY_NOT_WRAPPABLE"):
            Rewrapper(session, private, [target]).rewrap(0, envelopes[0])


def test_a_destroyed_public_key_is_wrapped_to_no_more(
    token: OfficerToken, envelopes: list[RewrapItem]
):
    assert len(list(token.rewrap(VaultOpener(1), ("escrow/1",), envelopes))) == 3
    token.destroy("escrow/1")
    with pytest.raises(NotFound):
        list(token.rewrap(VaultOpener(1), ("escrow/1",), envelopes))


def test_a_public_key_destroyed_meanwhile_is_wrapped_to_no_more(
    site: HsmSite, token: OfficerToken, envelopes: list[RewrapItem]
):
    blobs = token.rewrap(VaultOpener(1), ("escrow/1",), envelopes)
    next(blobs)
    site.as_officer(LABEL, "revoke", "escrow/1")
    with pytest.raises(TokenFault, match=r"envelope 1: .* CKR_WRAPPING_KEY_HANDLE_INVALID"):
        next(blobs)


def test_a_vault_key_that_is_not_there_opens_nothing(
    token: OfficerToken, envelopes: list[RewrapItem]
):
    with pytest.raises(NotFound, match="vault/2"):
        list(token.rewrap(VaultOpener(2), (SERVER,), envelopes))


def test_another_shares_key_opens_no_escrow_key(token: OfficerToken):
    opener = replace(software_escrow(), swk=bytes(32))
    with pytest.raises(IntegrityFailure, match="shares' key does not open the escrow key"):
        list(token.rewrap(opener, (VAULT,), iter(_never())))
    damaged = replace(opener, blob=opener.blob[:-8])
    with pytest.raises(IntegrityFailure, match="shares' key does not open the escrow key"):
        list(token.rewrap(damaged, (VAULT,), iter(_never())))


def test_an_escrow_pair_of_two_halves_is_not_proved(token: OfficerToken):
    opener = software_escrow()
    halves = EscrowPair(spki_der(software_keys().server.public_key()), opener.blob)
    with pytest.raises(IntegrityFailure, match="not proved: envelope 0 does not open"):
        token.prove_escrow(opener.swk, halves)
    whole = EscrowPair(spki_der(software_keys().escrow.public_key()), opener.blob)
    token.prove_escrow(opener.swk, whole)


def test_an_act_that_fails_meanwhile_ends_the_work(
    token: OfficerToken, envelopes: list[RewrapItem]
):
    blobs = token.rewrap(VaultOpener(1), (SERVER,), envelopes)
    next(blobs)
    with pytest.raises(IntegrityFailure):
        token.prove_escrow(
            bytes(32), EscrowPair(spki_der(software_keys().escrow.public_key()), b"")
        )
    with pytest.raises(TokenFault, match="envelope 1: the session ended"):
        next(blobs)
    assert len(list(token.rewrap(VaultOpener(1), (SERVER,), envelopes))) == 3


# an HSM that fails


@pytest.fixture
def plan(site: HsmSite) -> FaultPlan:
    return FaultPlan(site.home)


def rewrap_all(profile: Profile, items: list[RewrapItem]) -> tuple[int, str, str]:
    """Return how many were rewrapped, and what ended it."""
    token = OfficerToken(profile, LABEL, KnownPins({LABEL: SO_PIN}, {LABEL: PIN}))
    done = 0
    try:
        for _ in token.rewrap(VaultOpener(1), (SERVER,), items):
            done += 1
    except (TokenFault, IntegrityFailure) as error:
        action = error.action if isinstance(error, TokenFault) else Action.FAIL
        return done, f"{type(error).__name__}: {error.message}", action
    return done, "", ""


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (
            Fault("C_UnwrapKey", Return(GENERAL_ERROR), nth=2),
            (1, "IntegrityFailure: envelope 1 does not open", "fail"),
        ),
        (
            Fault("C_UnwrapKey", Return(DEVICE_ERROR), nth=2),
            (1, "TokenFault: envelope 1: the token answered CKR_DEVICE_ERROR", "fatal"),
        ),
        (
            Fault("C_Sign", Return(DEVICE_ERROR), nth=3),
            (2, "TokenFault: envelope 2: the token answered CKR_DEVICE_ERROR", "fatal"),
        ),
        (
            Fault("C_WrapKey", Return(GENERAL_ERROR), nth=2),
            (1, "TokenFault: envelope 1: the token answered CKR_GENERAL_ERROR", "fail"),
        ),
        (
            Fault("C_DestroyObject", Return(DEVICE_ERROR), nth=2),
            (1, "TokenFault: envelope 1: the token answered CKR_DEVICE_ERROR", "fatal"),
        ),
    ],
)
def test_a_failing_token_ends_the_work_at_that_item_and_is_not_the_envelopes_fault(
    site: HsmSite,
    plan: FaultPlan,
    envelopes: list[RewrapItem],
    fault: Fault,
    outcome: tuple[int, str, str],
):
    plan.write(fault)
    assert under_faults(plan, site, rewrap_all, faulty_profile(), envelopes) == outcome
    plan.write()
    assert under_faults(plan, site, rewrap_all, faulty_profile(), envelopes) == (3, "", "")


def test_a_death_amid_the_work_leaves_the_token_as_it_was(
    site: HsmSite, plan: FaultPlan, token: OfficerToken, envelopes: list[RewrapItem]
):
    before = token.dump()
    plan.write(Fault("C_WrapKey", DIE, nth=2))
    with pytest.raises(HsmUnavailable, match="died"):
        under_faults(plan, site, rewrap_all, faulty_profile(), envelopes)
    assert token.dump() == before
    plan.write()
    assert under_faults(plan, site, rewrap_all, faulty_profile(), envelopes) == (3, "", "")
