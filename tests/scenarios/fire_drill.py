"""The HSM has burned: a site with three spaces and many epochs loses every token, and is brought
back by its officers' shares, its database and its blobs. First one ordered key, then the site.
"""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kms.ceremonies.ports import ShareGroup
from kms.ceremonies.steps.shares import combine, split
from kms.client.api import Client
from kms.client.keys import EnvelopeOpener, EpochKey, SiteTrust
from kms.client.sframe import FrameOpener, FrameSealer, fresh_counter
from kms.client.transport import mutual_tls
from kms.domain.ids import RecipientId
from kms.errors import ConclaveError
from kms.i18n import Language, speak
from kms.practice import PracticeSite
from kms.practice.certificates import issue_client
from kms.practice.people import CardFolder
from kms.statements.jws import spki_id
from kms.statements.recovered import decode_recovered
from kms.wire.requests import RosterWish
from tests.practice.devices import load_authority
from tests.practice.service import Service, serving
from tests.scenarios.held import SECURITY, hold, write_plan
from tests.scenarios.restoration import burn, restore_parameters
from tests.scenarios.rooms import Room, rooms

THIRD = "research"
FRAMES = 50
GROUPS = (ShareGroup("security", 3, 5), ShareGroup("legal", 2, 3))
ESCROW = "escrow share {}, generation 1, split 2"
"""A share's name once the secrets were split anew."""
SPLIT_ANEW = """
[[parameters.groups]]
name = "security"
threshold = 3
[[parameters.groups]]
name = "legal"
threshold = 2
"""


@dataclass
class Report:
    """What was seen. ``slips`` maps a kind of wrong share to whether its holder was told so."""

    epochs: int = 0
    spaces: tuple[str, ...] = ()
    frames: int = 0
    slips: dict[str, bool] = field(default_factory=dict)
    two_of_five: str = ""
    minted_after: list[str] = field(default_factory=list)
    covered: tuple[int, int] = (0, 0)
    other_recipient: str = ""
    verified: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Lost:
    """What is recorded of a meeting before the fire."""

    meeting: str
    epoch: int
    frames: list[bytes]
    plain: list[bytes]
    kid: int


def add_third_space(site: PracticeSite) -> tuple[Path, Path, rsa.RSAPrivateKey]:
    """Create a third space by ceremonies; return certificate and key of its server ms-r, and the
    key that its envelopes are wrapped to.
    """
    with site.config.open("a") as config:
        config.write(f'\n[[hsm.tokens]]\nlabel = "space-{THIRD}"\nspace = "{THIRD}"\n')
    parameters = f'space = "{THIRD}"\nrelease_class = "trusted"'
    hold(site, write_plan(site, "create-space", "create-research", parameters, SECURITY))
    authority = load_authority(site.tls_ca_key, site.tls_ca)
    tls = issue_client(authority, "ms-r")
    certificate, tls_key = site.directory / "ms-r.pem", site.directory / "ms-r.key"
    certificate.write_bytes(tls.certificate.public_bytes(serialization.Encoding.PEM))
    tls_key.write_bytes(
        tls.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    own = rsa.generate_private_key(65537, 3072)
    parameters = (
        f'space = "{THIRD}"\nkind = "server"\nname = "ms-r"\n'
        f'public_key = """\n{_pem(own)}"""\ntls_key = "{spki_id(tls.key.public_key())}"'
    )
    hold(site, write_plan(site, "register-recipient", "register-ms-r", parameters, SECURITY))
    return certificate, tls_key, own


def run(site: PracticeSite, epochs: int) -> Report:
    """Do the whole drill on a fresh practice site."""
    report = Report()
    speak(Language.EN)
    third = add_third_space(site)
    hold(site, write_plan(site, "replace-officer", "split-anew", SPLIT_ANEW))
    with serving(site) as service:
        lost = _hold_meetings(service, third, epochs)
        with service.console() as console:
            found = console.escrow()
        report.epochs, report.spaces = found.epochs, tuple(sorted(s.space for s in found.spaces))
    trust = _trust(site, site.site_root)
    burn(site)
    _recover(site, lost, trust, report)
    _restore(site, report)
    with serving(site) as service:
        for room in rooms(service):
            (wish, *_others) = room.wishes()
            view = wish.send()
            report.minted_after.append(f"{room.space}: {view.state}")
        with service.console() as console:
            found = console.escrow()
        report.covered = found.covered, found.epochs
    return report


def _hold_meetings(
    service: Service, third: tuple[Path, Path, rsa.RSAPrivateKey], epochs: int
) -> Lost:
    """Mint ``epochs`` epochs in three spaces; return frames of one of them."""
    each = epochs // 3
    banking, treasury = rooms(service)
    for room, count in ((banking, each), (treasury, each)):
        _mint(room, "open")
        for _ in range(count - 1):
            _mint(room, "suspicion")
    certificate, tls_key, own = third
    context = mutual_tls(certificate, tls_key, service.site.tls_ca)
    wish = RosterWish(recipients=(RecipientId(spki_id(own.public_key())),))
    with Client.over_tls(service.url, context) as client:
        view = client.open_meeting(THIRD, wish)
        for _ in range(epochs - 2 * each - 1):
            client.rotate(THIRD, view.meeting, "suspicion")
    return _record(service, treasury, epoch=each // 2)


def _mint(room: Room, kind: str) -> None:
    wish = next(one for one in room.wishes() if one.kind == kind)
    room.adopt(wish, wish.send())


def _record(service: Service, room: Room, epoch: int) -> Lost:
    """Seal frames as the meeting's server ms-a does in that epoch, and keep them as a recording."""
    member = room.members[0]
    with service.server(member.server) as client:
        got = client.envelope(room.space, room.meeting, member.id, epoch=epoch)
    where = {"space": room.space, "meeting": room.meeting, "epoch": epoch}
    key = member.opener.open(got.manifest, base64.b64decode(got.blob), **where)
    assert key.sender is not None
    sealer = FrameSealer(key.base_key, key.kid(key.sender), first=fresh_counter())
    plain = [f"frame {number}".encode() * 20 for number in range(FRAMES)]
    frames = [sealer.seal(one) for one in plain]
    return Lost(room.meeting, epoch, frames, plain, key.kid(key.sender))


def _recover(site: PracticeSite, lost: Lost, trust: SiteTrust, report: Report) -> None:
    """Recover one named epoch by 3 of 5 and 2 of 3, with every kind of wrong share on the way."""
    own = rsa.generate_private_key(65537, 3072)
    words = CardFolder(site.shares).words()
    parameters = (
        f'space = "treasury"\nmeeting = "{lost.meeting}"\nepochs = [{lost.epoch}]\n'
        f'token = "recovery"\nrecipient_key = """\n{_pem(own)}"""'
    )
    _refuse_two_of_five(site, parameters, words, report)
    plan = write_plan(site, "recover", "recover-one", parameters)
    transcript, said = hold(site, plan, wrong_shares(words))
    heard = "\n".join(said)
    report.slips = {kind: sign in heard for kind, sign in SIGNS.items()}
    (path,) = (site.state / "recovered" / "recover-one").iterdir()
    found = decode_recovered(path.read_bytes())
    opened = EnvelopeOpener(trust, own, "RSA-OAEP").open_recovered(found)
    report.frames = _open_frames(opened, lost)
    report.verified.append(transcript.name)
    stranger = rsa.generate_private_key(65537, 3072)
    try:
        EnvelopeOpener(trust, stranger, "RSA-OAEP").open_recovered(found)
    except ConclaveError as error:
        report.other_recipient = error.code


SIGNS = {
    "mixed up": "this is share security/2, held by sun-security",
    "of the other secret": "this is a share of the SO secret",
    "of an old split": "this share is of generation 1, split 1",
    "corrupted": "checksum does not hold",
    "no word of the list": "word 5 is not in the list",
    "duplicate": "given before",
    "foreign": "no share of any key of this site",
}
"""Each kind of wrong share, and words of what its holder is told."""


def wrong_shares(words: dict[str, str]) -> dict[str, list[str]]:
    """Return for asked shares, by name, the wrong words that are given before the right ones."""
    legal = words[ESCROW.format("legal/1")].split()
    return {
        ESCROW.format("security/1"): [words[ESCROW.format("security/2")]],
        ESCROW.format("security/2"): [words[ESCROW.format("security/1")]],
        ESCROW.format("security/3"): [
            words["SO share security/3, generation 1, split 2"],
            words["escrow share security/3, generation 1, split 1"],
        ],
        ESCROW.format("legal/1"): [
            " ".join([*legal[:-2], legal[-1], legal[-2]]),
            " ".join([*legal[:4], "zzzz", *legal[5:]]),
        ],
        ESCROW.format("legal/2"): [split(bytes(range(32)), GROUPS)[0].words],
    }


def _refuse_two_of_five(
    site: PracticeSite, parameters: str, words: dict[str, str], report: Report
) -> None:
    """Two of five security officers are too few, for the quorum and for the shares themselves."""
    few = ("wang-security", "sun-security", "qian-legal", "feng-legal")
    plan = write_plan(site, "recover", "recover-by-two", parameters, few)
    try:
        hold(site, plan)
    except ConclaveError as error:
        report.two_of_five = error.message
    places = ("security/1", "security/2", "legal/1", "legal/2")
    given = [words[ESCROW.format(place)] for place in places]
    check = json.loads((site.state / "escrow-1.json").read_text())["check"]
    try:
        combine(given, check)
    except ConclaveError:
        return
    raise AssertionError("two of five shares combined")


def _restore(site: PracticeSite, report: Report) -> None:
    """Bring the site back on fresh tokens."""
    parameters = restore_parameters(site)
    transcript, _said = hold(site, write_plan(site, "restore-site", "restore", parameters))
    report.verified.append(transcript.name)
    newest = site.state / "site-root-2.pem"
    site.site_root.write_bytes(newest.read_bytes())


def _trust(site: PracticeSite, root: Path) -> SiteTrust:
    key = serialization.load_pem_public_key(root.read_bytes())
    return SiteTrust(site.site_id, key, site.key_list.read_text().strip())


def _open_frames(key: EpochKey, lost: Lost) -> int:
    opener = FrameOpener(key.base_key, lost.kid)
    return sum(
        opener.open(frame) == plain for frame, plain in zip(lost.frames, lost.plain, strict=True)
    )


def _pem(key: rsa.RSAPrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
