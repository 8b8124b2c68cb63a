"""The board's page of keys and versions, over a FAKE HSM."""

from dataclasses import replace
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kms.domain.ids import RecipientId
from kms.domain.models import Recipient, RecipientKind, Role
from kms.statements import jws
from kms.statements.keylist import TYP, KeyList, KeyUse, ListedKey, encode_keylist
from kms.usecases.rotation.vaults import set_paused
from kms.usecases.services import Call
from kms.usecases.watch.survey import WATCHER
from kms.web.app import build
from tests.fixtures.api import TREASURY
from tests.fixtures.approvals import SITE, root_key
from tests.fixtures.board import BoardSite, run_with_board
from tests.fixtures.board_meetings import english
from tests.fixtures.store import put

VAULTS, VERSIONS, SIGNING = "Vault keys by space", "Versions of vault keys", "Signing keys"
TOKENS, RECIPIENTS = "HSM tokens", "Registered recipients"
SINCE = 1_799_000_000


async def with_vaults(site: BoardSite) -> None:
    """Register three vault keys of the treasury, the first of them destroyed since."""
    for number in (1, 2, 3):
        name, gone = RecipientId(str(number) * 43), SINCE + 9 if number == 1 else 0
        vault = Recipient(
            TREASURY, name, RecipientKind.VAULT, "vault", number, "AAAA", "", SINCE + number, gone
        )
        await site.services.store.commit(put((vault, 1)))


def with_key_list(site: BoardSite, key: ec.EllipticCurvePrivateKey | None = None) -> BoardSite:
    """Return the site with a key list that its root signed, or another key."""
    key = key or root_key()
    listed = (
        ListedKey("c" * 43, KeyUse.CHECKPOINT, "", "AAAA", SINCE),
        ListedKey("m" * 43, KeyUse.MANIFEST, TREASURY, "AAAA", SINCE),
    )
    payload = encode_keylist(KeyList(SITE, 4, SINCE, listed))
    kid, signer = jws.spki_id(key.public_key()), jws.private_signer(key)
    services = replace(site.services, key_list=jws.sign(payload, typ=TYP, kid=kid, signer=signer))
    settings = services.settings.board
    assert settings is not None
    return BoardSite(site.site, services, build(services, settings), site.known)


def test_versions_of_vault_keys_stand_with_state_and_what_depends_on_them() -> None:
    async def work(site: BoardSite) -> None:
        await with_vaults(site)
        officer = replace(WATCHER, name="wang-security", roles=frozenset({Role.OFFICER}))
        await set_paused(site.services, Call(officer, "reseal.pause", ""), TREASURY, paused=True)
        page = await english(await site.signed_in("operator"), f"/keys?space={TREASURY}")
        rows = [row[1:6] for row in page.rows(VERSIONS)]
        assert rows == [
            ["3", "● active", "2027-01-04 02:13:23", "—", "0"],
            [
                "2", "◌ deactivated nothing depends on it: it can be destroyed",
                "2027-01-04 02:13:22", "—", "0",
            ],
            ["1", "✕ destroyed", "2027-01-04 02:13:21", "2027-01-04 02:13:29", "0"],
        ]  # fmt: skip
        ((space, *_, moving, failed),) = page.rows(VAULTS)
        assert (space, moving, failed) == (TREASURY, "◐ paused by an officer", "0")
        assert [row[0] for row in page.rows(RECIPIENTS)] == ["alpha", "beta"]

    run_with_board(work)


def test_signing_keys_are_those_that_the_site_root_vouches_for() -> None:
    async def work(plain: BoardSite) -> None:
        other = with_key_list(plain, ec.generate_private_key(ec.SECP256R1()))
        for one in (plain, other):
            page = await english(await one.signed_in("auditor"), "/keys")
            assert "There is no key list that the site root vouches for." in page.text
            assert SIGNING not in page.tables
        site = with_key_list(plain)
        page = await english(await site.signed_in("auditor"), "/keys")
        assert [row[:2] for row in page.rows(SIGNING)] == [
            ["the checkpoints of the log", "the site"],
            ["the manifests of epochs", TREASURY],
        ]
        assert "Key list 4, signed by the site root" in page.text

    run_with_board(work)


def test_of_another_space_nothing_is_shown() -> None:
    async def work(site: BoardSite) -> None:
        await with_vaults(site)
        answer = await (await site.signed_in("officer elsewhere")).get("/keys")
        assert answer.status == 200
        assert TREASURY not in answer.text
        assert "alpha" not in answer.text

    run_with_board(work)


def test_a_token_that_does_not_answer_is_named_and_the_rest_still_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(site: BoardSite) -> None:
        await with_vaults(site)
        auditor = await site.signed_in("auditor")
        await english(auditor, "/keys")  # rows are checked while the token answers
        away = site.site.workers.space(TREASURY)
        away.down = True
        monkeypatch.setattr(away, "info", partial(away.check_rows, ()))  # fails while it is down
        page = await english(auditor, "/keys")
        states = {row[0]: row[1] for row in page.rows(TOKENS)}
        assert states["site"] == "✓ ready"
        assert states["t"] != "✓ ready"
        assert len(page.rows(VERSIONS)) == 3

    run_with_board(work)
