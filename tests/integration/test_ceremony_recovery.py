"""Keys out of escrow on real tokens: with the site's own tokens there, and when they are gone."""

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kms.audit.checks import Verdict
from kms.audit.leaf import decode_leaf
from kms.bootstrap.files import StateFiles
from kms.ceremonies.steps.certificate import read_certificate
from kms.client.keys import EnvelopeOpener, SiteTrust
from kms.domain.grants import Hold
from kms.domain.ids import SpaceName
from kms.domain.models import Recipient
from kms.domain.policies import Labels, RotationRules, SpacePolicy
from kms.errors import (
    ConclaveError,
    EnvelopeRefused,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    OnHold,
    Retained,
    StateNotAllowed,
)
from kms.practice import PracticeSite
from kms.statements import archive
from kms.statements.canonical import read_row
from kms.statements.recovered import Recovered, decode_recovered
from kms.store.sqlite import SqliteStore
from tests.fixtures.escrowed import (
    OFFICERS,
    SPACE,
    Filled,
    audit,
    fill,
    hold,
    kill_at,
    look,
    mint_on,
    order,
    site_root,
)
from tests.fixtures.rows import put
from tests.fixtures.softhsm import clone_site
from tests.fixtures.store import TestClock
from tests.practice.service import serving
from tests.scenarios.restoration import burn, restore_parameters

EPOCHS = 4
HEIR = rsa.generate_private_key(65537, 3072)
PEM = (
    HEIR.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


@pytest.fixture(scope="module")
def master(practice_master: PracticeSite, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    with TemporaryDirectory(prefix="cv-") as folder:
        made = fill(clone_site(practice_master, Path(folder, "s")), EPOCHS)
        kept = tmp_path_factory.mktemp("filled") / "site"
        return Filled(clone_site(made.site, kept), made.meeting, made.keys)


@pytest.fixture
def filled(master: Filled) -> Iterator[Filled]:
    with TemporaryDirectory(prefix="cv-") as folder:
        yield Filled(clone_site(master.site, Path(folder, "s")), master.meeting, master.keys)


def recovery(filled: Filled, which: str, **changes: object) -> Path:
    parameters = (
        f'space = "{SPACE}"\nmeeting = "{filled.meeting}"\n{which}\ntoken = "recovery"\n'
        f'recipient_key = """\n{PEM}"""\n'
    )
    return order(filled.site, "recover", parameters, **changes)


def delivered(site: PracticeSite) -> dict[int, Recovered]:
    files = sorted((site.state / "recovered").rglob("*.json"))
    found = [decode_recovered(path.read_bytes()) for path in files]
    return {one.epoch: one for one in found}


def opener(site: PracticeSite, key: rsa.RSAPrivateKey = HEIR) -> EnvelopeOpener:
    names = [path.name for path in site.state.iterdir()]
    number = archive.newest(names, archive.KEY_LIST)
    token = (site.state / archive.KEY_LIST.format(number)).read_text().strip()
    root = site_root(site, archive.newest(names, archive.SITE_ROOT))
    return EnvelopeOpener(SiteTrust(site.site_id, root, token), key, "RSA-OAEP")


def details(site: PracticeSite, action: str) -> list[dict[str, object]]:
    store = SqliteStore.open(site.state / "conclave.db", TestClock())
    try:
        leaves = [decode_leaf(one) for one in store.leaves(0, 10_000)]
    finally:
        store.close()
    return [one.details for one in leaves if one.action == action]


def test_exactly_the_epoch_of_the_order_comes_back_with_the_hsm_burned(filled: Filled) -> None:
    site = filled.site
    burn(site)
    facts = hold(site, recovery(filled, "epochs = [2]"))
    found = delivered(site)
    assert list(found) == [2]
    assert opener(site).open_recovered(found[2]).base_key == filled.keys[2].base_key
    stranger = rsa.generate_private_key(65537, 3072)
    with pytest.raises(EnvelopeRefused):
        opener(site, stranger).open_recovered(found[2])
    assert facts["recover/log"]["offline_image"] is False
    (told,) = details(site, "escrow.recover")
    assert (told["epochs"], told["generations"]) == ([2], [1])


def test_a_whole_meeting_comes_back_and_a_new_generation_is_owed(filled: Filled) -> None:
    site = filled.site
    hold(site, recovery(filled, "all = true"))
    found = delivered(site)
    keys = [opener(site).open_recovered(found[number]).base_key for number in range(EPOCHS)]
    assert keys == [key.base_key for key in filled.keys]
    with serving(site) as service:
        owing = look(service)
        assert owing.attention
        assert [one.generation for one in owing.obligations] == [1]
    hold(site, order(site, "new-generation", 'reason = "recovery"\n'))
    with serving(site) as service:
        assert not look(service).attention


RECOVERING = (
    "gives share security/2 of the share wrapping key",
    "The empty token recovery",
    "The token opens each escrow envelope",
    "The token recovery is erased",
)


def test_a_recovery_that_was_killed_again_and_again_is_ended_by_the_next_run(
    filled: Filled,
) -> None:
    site = filled.site
    burn(site)
    plan = recovery(filled, "epochs = [0, 1]")
    for sentence in RECOVERING:
        kill_at(site, plan, sentence)
    facts = hold(site, plan)
    found = delivered(site)
    assert [opener(site).open_recovered(found[n]).base_key for n in (0, 1)] == [
        key.base_key for key in filled.keys[:2]
    ]
    assert facts["recover/erase"] == {"token": "recovery"}
    assert len(details(site, "escrow.recover")) == 1


def test_two_of_five_and_one_of_three_recover_nothing(filled: Filled) -> None:
    for name, officers in (("two-of-five", OFFICERS[1:]), ("one-of-three", OFFICERS[:-1])):
        with pytest.raises(ConclaveError, match="group"):
            hold(filled.site, recovery(filled, "epochs = [0]", name=name, officers=officers))
    assert not delivered(filled.site)


NO_KEYS: dict[str, type[ConclaveError]] = {
    "epochs = [9]": NotFound,
    "epochs = []": InvalidInput,
    "epochs = [0, 0]": InvalidInput,
    "epochs = [0]\nall = true": InvalidInput,
    "epochs = [-1]": InvalidInput,
}


def test_an_order_that_names_no_keys_of_the_meeting_is_refused(filled: Filled) -> None:
    for number, (which, refusal) in enumerate(NO_KEYS.items()):
        with pytest.raises(refusal):
            hold(filled.site, recovery(filled, which, name=f"order-{number}"))
    assert not delivered(filled.site)


def test_the_sites_own_token_is_not_taken_for_a_recovery(filled: Filled) -> None:
    plan = recovery(filled, "epochs = [0]")
    plan.write_text(plan.read_text().replace('"recovery"', '"space-treasury"', 1))
    with pytest.raises(InvalidInput, match="one of its own"):
        hold(filled.site, plan)


def restoration(site: PracticeSite) -> Path:
    return order(site, "restore-site", restore_parameters(site))


def _restored(filled: Filled) -> None:
    site = filled.site
    site.site_root.write_bytes((site.state / "site-root-2.pem").read_bytes())
    with serving(site) as service:
        status = look(service)
        assert (status.attention, status.covered) == (False, EPOCHS)
        mint_on(service)
        report = audit(service, site_root(site, 2))
        assert report.verdict in {Verdict.PASS, Verdict.FINDING}, report.to_text()
    hold(site, order(site, "new-generation", 'reason = "schedule"\n'), root=2)


def test_a_burned_site_comes_back_on_empty_tokens_and_goes_on_minting(filled: Filled) -> None:
    site = filled.site
    burn(site)
    facts = hold(site, restoration(site))
    assert facts["restore/rewrap/space-treasury"]["epochs"] == EPOCHS
    assert facts["restore/coverage"]["epochs"][SPACE] == EPOCHS
    assert facts["tokens/vault/space-treasury"]["version"] == 2
    _restored(filled)


def revoked(site: PracticeSite) -> list[Recipient]:
    """Return the treasury's recipients that are revoked."""
    store = SqliteStore.open(site.state / "conclave.db", TestClock())
    try:
        rows = [read_row(one.row) for one in store.recipients(SpaceName(SPACE))]
    finally:
        store.close()
    return [one for one in rows if isinstance(one, Recipient) and one.revoked]


def test_a_restored_vault_is_of_a_version_that_the_space_never_had_and_partners_end(
    filled: Filled,
) -> None:
    site = filled.site
    hold(site, order(site, "rotate-vault", f'space = "{SPACE}"\n'))
    partner = f'space = "{SPACE}"\nkind = "partner"\nname = "investment-banking"\n'
    hold(site, order(site, "register-recipient", partner))
    burn(site)
    facts = hold(site, restoration(site))
    assert facts["tokens/vault/space-treasury"]["version"] == 3
    assert facts["tokens/vault/space-investment-banking"]["version"] == 2
    assert "partner" in {one.kind for one in revoked(site)}
    _restored(filled)


RESTORING = (
    "The program splits the SO secret",
    "The token space-treasury generates a new vault key",
    "The new site root signs a key list",
    "The new site root signs the register",
    "The new tokens seal every row",
    "takes over the head of the log",
    "opens every key of treasury",
    "The log tells of the restoration",
)


def test_a_restoration_that_was_killed_again_and_again_is_ended_by_the_next_run(
    filled: Filled,
) -> None:
    burn(filled.site)
    plan = restoration(filled.site)
    for sentence in RESTORING:
        kill_at(filled.site, plan, sentence)
    hold(filled.site, plan)
    _restored(filled)


def test_a_site_with_its_tokens_is_not_restored(filled: Filled) -> None:
    with pytest.raises(StateNotAllowed, match="is there"):
        hold(filled.site, restoration(filled.site))


def test_a_log_that_is_not_the_plans_is_refused(filled: Filled) -> None:
    site = filled.site
    burn(site)
    for number, (old, new) in enumerate(
        (
            (r"(?m)^root = .*$", f'root = "{base64.b64encode(bytes(32)).decode()}"'),
            (r"(?m)^size = .*$", "size = 3"),
        )
    ):
        parameters, changed = re.subn(old, new, restore_parameters(site))
        assert changed
        plan = order(site, "restore-site", parameters, name=f"restore-{number}")
        with pytest.raises(IntegrityFailure, match="audit log"):
            hold(site, plan)
    assert not (site.state / "site-root-2.pem").exists()


def test_a_retired_space_is_destroyed_with_every_key(filled: Filled) -> None:
    site = filled.site
    hold(site, order(site, "retire-space", f'space = "{SPACE}"\n'))
    facts = hold(site, order(site, "destroy-space", f'space = "{SPACE}"\n'))
    assert facts["look/space"]["epochs"] == EPOCHS
    certificate = read_certificate(StateFiles(site.state), "destroy-space")
    assert certificate.content[0].what == "vault key"
    store = SqliteStore.open(site.state / "conclave.db", TestClock())
    try:
        ((count,),) = store._database.read(
            "SELECT count(*) FROM envelope WHERE space = ?", (SPACE,)
        )
        assert count == 0
    finally:
        store.close()
    with pytest.raises(NotFound):
        hold(site, recovery(filled, "epochs = [0]"))


def test_a_space_in_use_is_not_destroyed(filled: Filled) -> None:
    with pytest.raises(StateNotAllowed, match="in use"):
        hold(filled.site, order(filled.site, "destroy-space", f'space = "{SPACE}"\n'))


def test_a_space_under_a_legal_hold_is_retired_and_not_destroyed(filled: Filled) -> None:
    site = filled.site
    stands = Hold(SpaceName(SPACE), "0193a5b0-7c3e-7000-8000-000000000001", "", "a court", "o", 1)
    put(site, "hold.place", f"spaces/{SPACE}/holds/{stands.hold}", stands)
    hold(site, order(site, "retire-space", f'space = "{SPACE}"\n'))
    plan = order(site, "destroy-space", f'space = "{SPACE}"\n')
    with pytest.raises(OnHold, match=f"{stands.hold} forbids it: a court"):
        hold(site, plan)
    put(site, "hold.lift", f"spaces/{SPACE}/holds/{stands.hold}", replace(stands, lifted=2))
    kill_at(site, plan, "is erased with everything")
    another = replace(stands, hold="0193a5b0-7c3e-7000-8000-000000000002")
    put(site, "hold.place", f"spaces/{SPACE}/holds/{another.hold}", another)
    with pytest.raises(OnHold):
        hold(site, plan)


def test_keys_that_a_policy_retains_are_not_destroyed_with_their_space(filled: Filled) -> None:
    site = filled.site
    rules = RotationRules(3600, 86_400)
    kept = SpacePolicy(SpaceName(SPACE), Labels(), rules, retention_seconds=86_400)
    put(site, "policy.change", f"spaces/{SPACE}/policy", kept)
    hold(site, order(site, "retire-space", f'space = "{SPACE}"\n'))
    plan = order(site, "destroy-space", f'space = "{SPACE}"\n')
    with pytest.raises(Retained, match="are kept until"):
        hold(site, plan)
    put(site, "policy.change", f"spaces/{SPACE}/policy", replace(kept, retention_seconds=0))
    assert hold(site, plan)["look/space"]["epochs"] == EPOCHS


DESTROYING = (
    "Every envelope of every meeting",
    "is erased with everything",
    "destruction certificate",
)


def test_a_destruction_that_was_killed_again_and_again_is_ended_by_the_next_run(
    filled: Filled,
) -> None:
    site = filled.site
    hold(site, order(site, "retire-space", f'space = "{SPACE}"\n'))
    plan = order(site, "destroy-space", f'space = "{SPACE}"\n')
    for sentence in DESTROYING:
        kill_at(site, plan, sentence)
    hold(site, plan)
    assert len(details(site, "space.destroy")) == 1
    assert len(details(site, "meeting.destroy")) == 1
