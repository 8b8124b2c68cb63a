"""Policies and grants on a real site: asked for, approved, in force at once and after a restart."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kms.errors import Forbidden, InvalidInput
from kms.practice import PracticeSite
from kms.wire.policies import Explain
from tests.fixtures.softhsm import clone_site
from tests.practice.approving import carry_out
from tests.practice.service import Service, serving
from tests.scenarios import bundles
from tests.scenarios.bundles import Found

SPACE = "treasury"
DAY = 24 * 3600
STAND_IN = """
[audit]
checkpoint_seconds = 0.2
[[caller]]
uid = 4000001
principal = "stand-in"
roles = ["operator"]
spaces = ["*"]
department = "audit"
"""
OWN = """
@id("secrets-stay-with-their-department")
forbid (principal, action, resource is Space)
when { resource.classification == "secret" && principal.department != resource.department };
"""
LOCKED_OUT = '@id("own") forbid (principal, action, resource is Site);'


@pytest.fixture(scope="module")
def site(practice_master: PracticeSite) -> Iterator[PracticeSite]:
    with tempfile.TemporaryDirectory(prefix="cv-") as folder:
        copy = clone_site(practice_master, Path(folder, "s"))
        with copy.config.open("a") as config:
            config.write(STAND_IN)
        yield copy


def _label(service: Service, **labels: str) -> None:
    with service.console() as client:
        found = client.policy(SPACE)
    policy = found.policy.model_dump(mode="json")
    policy["labels"] |= labels
    parameters = {"policy": policy, "version": found.version + 1}
    carry_out(service, "policy.change", SPACE, parameters)


def test_what_people_approve_is_in_force_at_once_and_after_a_restart(site: PracticeSite) -> None:
    with serving(site) as service, service.console() as client:
        with pytest.raises(InvalidInput, match="no officer may do"):
            carry_out(service, "site-policy.change", "", {"text": LOCKED_OUT, "version": 1})
        carry_out(service, "site-policy.change", "", {"text": OWN, "version": 1})
        assert list(client.meetings(SPACE)) == []
        _label(service, classification="secret", department="treasury")
        with pytest.raises(Forbidden):
            list(client.meetings(SPACE))
    with serving(site) as service, service.console() as client:
        with pytest.raises(Forbidden):
            list(client.meetings(SPACE))
        assert client.site_policy().text == OWN
        carry_out(service, "site-policy.change", "", {"text": "", "version": 2})
        assert client.policy(SPACE).policy.labels.classification == "secret"


def test_an_approved_grant_is_in_force_until_an_officer_ends_it_and_the_log_holds(
    site: PracticeSite, tmp_path: Path
) -> None:
    now = int(time.time())
    question = Explain(principal="stand-in", operation="meeting.list", space=SPACE)
    wish = {"principal": "stand-in", "role": "auditor", "starts": now, "expires": now + DAY}
    with serving(site) as service, service.console() as client:
        assert not client.explain(question).permitted
        done = carry_out(service, "grant.create", SPACE, wish)
        answer = client.explain(question)
        assert (answer.permitted, answer.grant) == (True, done.id)
        (listed,) = client.grants().items
        assert (listed.grant, listed.state, listed.flags) == (done.id, "in-force", ())
        client.revoke_grant(done.id)
        assert not client.explain(question).permitted
        exported = bundles.export(service, tmp_path)
        assert bundles.verify(exported, exported.bundle) == Found(0, frozenset())
