"""Ceremonies as people hold them: a terminal for the administrator, one for everybody else, each a
process of its own, and nothing typed that the handbook does not say.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kms.hsm.profile import load_profile
from kms.practice.site import PROFILE
from kms.statements import archive
from tests.scenarios.terminals import CONCLAVE, Attendee, Hall

MODULE = load_profile(PROFILE).module
PIN = "246810"
TERM = "term_from = 2026-01-01T00:00:00Z\nterm_until = 2099-01-01T00:00:00Z\n"
OTHERS = {"chen-admin": "administrator", "liu-witness": "witness", "zhao-auditor": "auditor"}
OFFICERS = {
    "wang-security": ("security", 1),
    "sun-security": ("security", 2),
    "qian-legal": ("legal", 1),
    "feng-legal": ("legal", 2),
}
WITH_KEY_FILE = "zhao-auditor"
"""The one whose credential is a file; all others have a token of their own."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bank")


@pytest.fixture(scope="module")
def hall(place: Path) -> Hall:
    """A site that does not exist yet: its configuration, and people with credentials."""
    softhsm(place / "hsm")
    config = place / "conclave.toml"
    config.write_text(
        f'[site]\nid = "hq.bank.example"\n[paths]\nstate = "{place}/state"\nrun = "{place}/run"\n'
        f'[hsm]\nprofile = "{PROFILE}"\n[hsm.environment]\n'
        f'SOFTHSM2_CONF = "{place}/hsm/softhsm2.conf"\n[[hsm.tokens]]\nlabel = "site"\n'
        '[[hsm.tokens]]\nlabel = "space-treasury"\nspace = "treasury"\n'
        "[ceremonies]\nsoftware_credentials = true\n"
    )
    people = {name: attendee(config, place / name, name) for name in (*OTHERS, *OFFICERS)}
    return Hall(config, people, {})


def softhsm(folder: Path) -> dict[str, str]:
    """Make a SoftHSM of its own; return what its user's environment has."""
    (folder / "tokens").mkdir(parents=True)
    conf = folder / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    return {"SOFTHSM2_CONF": str(conf)}


def attendee(config: Path, folder: Path, name: str) -> Attendee:
    """Make a person's credential and card, each in a folder of their own."""
    environment = softhsm(folder)
    if name == WITH_KEY_FILE:
        key = folder / "key.pem"
        made = Attendee(name, str(key), environment)
        where = ["--key", str(key)]
    else:
        label = f"own-{name}"
        command = ["softhsm2-util", "--init-token", "--free", "--label", label]
        command += ["--pin", PIN, "--so-pin", "97531975"]
        subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
        made = Attendee(name, f"{label} --module {MODULE}", environment, PIN)
        where = ["--token", label, "--module", str(MODULE)]
    make_card(config, folder, made, where)
    return made


def make_card(config: Path, folder: Path, person: Attendee, where: list[str]) -> None:
    pins = folder / "pin.json"
    pins.write_text(json.dumps({f"own-{person.name}": PIN}))
    with pins.open("rb") as file:
        words = ["credential", "new", "--person", person.name, "--out", str(folder / "card.jws")]
        words += [*where, *(["--pin-fd", str(file.fileno())] if person.pin else [])]
        subprocess.run(
            [*CONCLAVE, "--config", str(config), *words],
            env={**os.environ, **person.environment},
            pass_fds=[file.fileno()],
            stdin=subprocess.DEVNULL,
            check=True,
            capture_output=True,
        )


# --- plans, as the administrator completes them --------------------------------------------------


def new_plan(hall: Hall, kind: str) -> Path:
    plan = hall.config.parent / f"{kind}.toml"
    hall.conclave("ceremony", "plan", "new", kind, "--out", plan)
    return plan


def complete(plan: Path, **fields: str) -> None:
    """Write parameters into a plan, in the place of the example's."""
    head, mark, _example = plan.read_text().partition("[parameters]\n")
    lines = "".join(f"{name} = {value}\n" for name, value in fields.items())
    plan.write_text(f"{head}{mark}{lines}")


def founding_parameters(place: Path) -> str:
    groups = [f'[[parameters.groups]]\nname = "{name}"\nthreshold = 2\n' for name in GROUPS]
    people = [person(place, name, part) for name, part in OTHERS.items()]
    for name, (group, share) in OFFICERS.items():
        people.append(
            f'{person(place, name, "officer")}group = "{group}"\nshare = {share}\n',
        )
    return "\n".join([*groups, *people])


GROUPS = ("security", "legal")


def person(place: Path, name: str, part: str) -> str:
    card = (place / name / "card.jws").read_text().strip()
    return (
        f'[[parameters.people]]\nname = "{name}"\ndisplay = "{name.title()}"\npart = "{part}"\n'
        f'{TERM}card = "{card}"\n'
    )


def public_pem() -> str:
    key = rsa.generate_private_key(65537, 3072).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def verified(hall: Hall, transcript: Path) -> None:
    root = hall.config.parent / "state" / archive.SITE_ROOT.format(1)
    shown = hall.conclave("ceremony", "verify", transcript, "--site-root", root)
    assert "Conclusion: everything holds." in shown


# --- the ceremonies, one after the other ---------------------------------------------------------


def test_a_site_is_founded_by_its_people(hall: Hall, place: Path) -> None:
    plan = new_plan(hall, "initialise-site")
    head, mark, _example = plan.read_text().partition("[parameters]\n")
    lines = [line for line in head.splitlines() if not line.startswith("officers")]
    officers = f"officers = {json.dumps(list(OFFICERS))}\n"
    plan.write_text("\n".join(lines) + f"\n{officers}\n{mark}{founding_parameters(place)}")
    assert "every officer" not in hall.conclave("ceremony", "plan", "check", plan)
    pins = place / "pins-site.json"
    verified(hall, hall.hold(plan, "--new-pins", str(pins)))
    hall.pins |= json.loads(pins.read_text())
    assert set(hall.pins) == {"site"}


def test_a_space_is_created_by_the_security_officers(hall: Hall, place: Path) -> None:
    plan = new_plan(hall, "create-space")
    assert 'officers = ["wang-security", "sun-security"]' in plan.read_text()
    complete(plan, space='"treasury"', release_class='"trusted"')
    pins = place / "pins-treasury.json"
    verified(hall, hall.hold(plan, "--new-pins", str(pins)))
    hall.pins |= json.loads(pins.read_text())


def test_a_meeting_server_is_registered_though_the_first_run_was_interrupted(hall: Hall) -> None:
    plan = new_plan(hall, "register-recipient")
    complete(
        plan,
        space='"treasury"',
        kind='"server"',
        name='"ms-1"',
        public_key=json.dumps(public_pem()),
        tls_key=f'"{"A" * 43}"',
    )
    hall.interrupt(plan)
    verified(hall, hall.hold(plan))


def test_all_ceremonies_are_listed_as_done(hall: Hall) -> None:
    listed = json.loads(hall.conclave("ceremony", "list", "--json"))["items"]
    assert [one["kind"] for one in listed] == [
        "initialise-site",
        "create-space",
        "register-recipient",
    ]
    assert {one["state"] for one in listed} == {"done"}
