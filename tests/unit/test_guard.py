"""What a worker seals for an approved request, and all that it refuses. The keys are FAKES: the
site root is a software key, MACs are SHA-256; on real tokens see test_worker_approvals.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from kms.domain.approvals import (
    RULES,
    Parameters,
    Request,
    RequestState,
    grant_of,
)
from kms.domain.disks import (
    Disk,
    DiskWish,
    MountPolicy,
    RecoveryKey,
    SlotKey,
    Work,
    disk_of,
)
from kms.domain.grants import Grant, Hold, Share
from kms.domain.ids import DiskId, MeetingId, RecipientId, SpaceName
from kms.domain.models import (
    Epoch,
    Meeting,
    Recipient,
    RecipientKind,
    ReleaseClass,
    Role,
    Roster,
    RotationReason,
    Space,
)
from kms.domain.policies import GroupNeed, Quorum, SitePolicy, SpacePolicy
from kms.domain.rows import Record, SealedRow
from kms.domain.states import KeyState, MeetingState
from kms.errors import (
    ApprovalRequired,
    ConclaveError,
    Forbidden,
    IntegrityFailure,
    QuorumNotMet,
    StateNotAllowed,
    VerificationFailed,
)
from kms.hsm.guard import Guard
from kms.hsm.rows import RowSealer, check_unguarded
from kms.ports import Approved
from kms.statements.canonical import mac_input, make_row, read_row
from tests.fixtures.approvals import (
    EXAMPLES,
    MEETING,
    NOW,
    OTHER,
    POLICY,
    SECURITY,
    SITE,
    SPACE,
    Board,
    everybody,
    space_of,
)

BOARD = Board(SITE, NOW)
EVERY = pytest.mark.parametrize("operation", RULES)
ANOTHER = MeetingId("0193a5b0-7c3e-7000-8000-0123456789ac")
EPOCH = Epoch(SPACE, MEETING, 0, KeyState.DESTROYED, RotationReason.OPEN, 1, 2, 1, "")
GONE = Meeting(SPACE, MEETING, MeetingState.DESTROYED, 3, None, 3, 1, 1)
SHARED = replace(GONE, state=MeetingState.OPEN, partner=OTHER)
VAULT = Recipient(
    SPACE, RecipientId("v" * 43), RecipientKind.VAULT, "vault", 1, "AAAA", "", 1, revoked=NOW
)
ENROLLED = disk_of(SPACE, cast("DiskWish", EXAMPLES["disk.enroll"]), NOW + 30)
USED = replace(ENROLLED, keks=2, recovery=RecoveryKey(1, "escrowed", NOW))
ERASED = USED.erase(NOW + 30)
HOLD = Hold(SPACE, MEETING, MEETING, "a court asks", "officer", NOW - 9, lifted=NOW)


class FakeKeys:
    """A fake token that trusts one site root."""

    def site_root(self) -> ec.EllipticCurvePublicKey:
        return BOARD.root.public_key()

    def mac(self, data: bytes) -> bytes:
        return hashlib.sha256(data).digest()


KEYS: Any = FakeKeys()


def stored(record: Record, version: int) -> SealedRow:
    """Return a row that the fake token sealed."""
    row = make_row(record, version)
    return SealedRow(row, KEYS.mac(mac_input(row)))


def effects(operation: str, request: str) -> tuple[tuple[Record, int], ...]:
    """Return the rows that an operation's example brings about, with their versions."""
    wish = EXAMPLES["grant.create"]
    return {
        "epoch.resume": ((replace(EPOCH, epoch=3, state=KeyState.ACTIVE), 4),),
        "epoch.destroy": ((EPOCH, 4),),
        "meeting.destroy": ((GONE, 5), (EPOCH, 4), (replace(EPOCH, epoch=1), 2)),
        "hold.lift": ((HOLD, 2),),
        "policy.change": ((POLICY, 1),),
        "site-policy.change": ((SitePolicy("site", "permit (principal, action, resource);"), 2),),
        "grant.create": ((grant_of(SPACE, request, wish, "it is time"), 1),),
        "meeting.share": ((Share(SPACE, MEETING, OTHER, request, NOW), 1), (SHARED, 7)),
        "vault.retire": ((VAULT, 2),),
        "disk.enroll": ((ENROLLED, 1),),
        "disk.erase": ((ERASED, 5),),
        "report.unmask": (),
    }[operation]


def guard(space: str = SPACE, at: int = NOW + 30) -> Guard:
    return Guard(SITE, RowSealer(space), lambda: at)


def approved(
    operation: str = "meeting.destroy",
    names: Sequence[str] | None = None,
    board: Board = BOARD,
    at: int = NOW + 30,
    **changes: Any,
) -> Approved:
    """Return an example carried out as it should be, unless said otherwise."""
    rows, policy = changes.pop("rows", None), changes.pop("policy", None)
    before = stored(USED, 4) if operation == "disk.erase" else None
    parameters: Parameters = changes.pop("parameters", EXAMPLES[operation])
    wanted = board.request(
        operation, parameters, changes.pop("space", space_of(operation)), **changes
    )
    record = board.executed(wanted, everybody(operation) if names is None else names, at)
    made = effects(operation, wanted.id) if rows is None else rows
    made_rows = tuple(make_row(*one) for one in made)
    return Approved(make_row(record, 7), made_rows, board.token, policy, before)


def altered(given: Approved, **changes: Any) -> Approved:
    """Return it with another record of the request."""

    record = cast("Request", read_row(given.request))
    return replace(given, request=make_row(replace(record, **changes), 7))


def refused(error: type[ConclaveError], words: str = "") -> Any:
    return pytest.raises(error, match=words or None)


# --- what is sealed ------------------------------------------------------------------------------


@EVERY
def test_what_enough_people_approved_is_sealed(operation: str) -> None:
    names = SECURITY if RULES[operation].both else None
    given = approved(operation, names)
    sealed = guard(space_of(operation)).seal(KEYS, given)
    assert [one.row for one in sealed] == [given.request, *given.rows]
    assert all(one.mac == KEYS.mac(mac_input(one.row)) for one in sealed)


@EVERY
def test_none_of_it_is_sealed_without_its_request(operation: str) -> None:
    given = approved(operation, SECURITY)
    sealer = RowSealer(space_of(operation))
    with refused(ApprovalRequired):
        sealer.seal(KEYS, [given.request])
    alone = {"epoch.resume", "epoch.destroy", "report.unmask"}  # no state, or it does not tell
    if operation not in alone:
        with refused(ApprovalRequired):
            sealer.seal(KEYS, given.rows)


@pytest.mark.parametrize(
    "record",
    [
        replace(GONE, state=MeetingState.OPEN),
        replace(GONE, state=MeetingState.CLOSED),
        EPOCH,
        replace(HOLD, lifted=0),
        replace(VAULT, revoked=0),
        replace(VAULT, kind=RecipientKind.SERVER),
        Grant(SPACE, MEETING, "nurse", Role.OFFICER, 1, 2, "", revoked=NOW),
        Request(SPACE, MEETING, "token"),
        Request(SPACE, MEETING, "token", state=RequestState.CANCELLED, ended=NOW),
    ],
    ids=lambda record: type(record).__name__,
)
def test_what_stops_or_only_asks_is_sealed_without(record: Record) -> None:
    check_unguarded(record)
    RowSealer(SPACE).seal(KEYS, [make_row(record, 1)])


# --- whose word ----------------------------------------------------------------------------------


def test_too_few_are_refused() -> None:
    with refused(QuorumNotMet, "1 of group security"):
        guard().seal(KEYS, approved(names=SECURITY[:1]))


def test_a_register_that_the_token_does_not_trust_is_refused() -> None:
    forged = Board(SITE, NOW, root=ec.generate_private_key(ec.SECP256R1()))
    with refused(VerificationFailed, "another key"):
        guard().seal(KEYS, approved(board=forged))


def test_another_sites_register_is_refused() -> None:
    other = Board("other.example", NOW)
    with refused(VerificationFailed, "another site's"):
        guard().seal(KEYS, approved(board=other))


def test_a_request_under_another_register_than_the_one_shown_is_refused() -> None:
    given = replace(approved(), register=Board(SITE, NOW, version=2).token)
    with refused(VerificationFailed, "register of people has changed"):
        guard().seal(KEYS, given)


def test_a_register_older_than_one_shown_before_is_refused() -> None:
    newer, one = Board(SITE, NOW, version=2), guard()
    one.seal(KEYS, approved())
    one.seal(KEYS, approved(board=newer))
    with refused(VerificationFailed, "newer register"):
        one.seal(KEYS, approved())
    guard().seal(KEYS, approved())


def test_somebody_who_is_bound_to_another_space_does_not_count() -> None:
    board = Board(SITE, NOW, spaces={SECURITY[0]: (OTHER,)})
    with refused(VerificationFailed, "no say"):
        guard().seal(KEYS, approved(board=board))


# --- which quorum --------------------------------------------------------------------------------


def sealed_policy(version: int = 3, space: SpaceName = SPACE, **quorums: Any) -> SealedRow:
    policy = SpacePolicy(space, POLICY.labels, POLICY.rotation, 0, **quorums)
    row = make_row(policy, version)
    return SealedRow(row, KEYS.mac(mac_input(row)))


LEGAL_ALONE = (GroupNeed("legal", 2),)
STATED = {"quorums": (Quorum("meeting.destroy", LEGAL_ALONE),)}
LAWYERS = ("qian-legal", "han-legal")


def test_a_lower_quorum_than_the_default_is_refused_whoever_signed_for_it() -> None:
    weak = (GroupNeed("security", 1), GroupNeed("legal", 1))
    given = approved(names=("sun-security", "qian-legal"), quorum=weak)
    with refused(VerificationFailed, "another quorum"):
        guard().seal(KEYS, given)
    more = (GroupNeed("security", 2), GroupNeed("legal", 1))
    with refused(VerificationFailed, "another quorum"):
        guard().seal(KEYS, approved(names=(*SECURITY[:2], "qian-legal"), quorum=more))


def test_the_policys_quorum_holds_in_its_space() -> None:
    policy = sealed_policy(**STATED)
    guard().seal(KEYS, approved(names=LAWYERS, quorum=LEGAL_ALONE, policy=policy))
    with refused(VerificationFailed, "another quorum"):
        guard().seal(KEYS, approved(policy=policy))
    with refused(VerificationFailed, "another quorum"):
        guard().seal(KEYS, approved(names=LAWYERS, quorum=LEGAL_ALONE))


def test_a_forged_policy_or_another_spaces_is_refused() -> None:
    given = approved(names=LAWYERS, quorum=LEGAL_ALONE)
    forged = replace(sealed_policy(**STATED), mac=b"\0" * 32)
    with refused(IntegrityFailure):
        guard().seal(KEYS, replace(given, policy=forged))
    foreign = sealed_policy(space=OTHER, **STATED)
    with refused(VerificationFailed, "not the space's policy"):
        guard().seal(KEYS, replace(given, policy=foreign))


def test_an_older_policy_than_one_shown_before_is_refused() -> None:
    old = approved(names=LAWYERS, quorum=LEGAL_ALONE, policy=sealed_policy(3, **STATED))
    one = guard()
    one.seal(KEYS, old)
    one.seal(KEYS, approved(policy=sealed_policy(4)))
    for older in (old, approved()):
        with refused(VerificationFailed, "newer policy"):
            one.seal(KEYS, older)


def test_the_partners_side_has_to_be_asked_too() -> None:
    own = BOARD.needs("meeting.share")[:1]
    for rest in ((), (GroupNeed("security", 2, "legal"),), (GroupNeed("security", 1, OTHER),)):
        given = approved("meeting.share", SECURITY, quorum=(*own, *rest))
        with pytest.raises(ConclaveError):
            guard().seal(KEYS, given)


# --- when ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [RequestState.PENDING, RequestState.CANCELLED])
def test_only_a_request_that_ends_by_it_permits_rows(state: RequestState) -> None:
    with refused(VerificationFailed, "carried out with them"):
        guard().seal(KEYS, altered(approved(), state=state))
    with refused(VerificationFailed, "carried out with them"):
        guard().seal(KEYS, replace(approved(), request=make_row(EPOCH, 1)))


@pytest.mark.parametrize("late", [-3600, -61, 61, 3600])
def test_it_is_carried_out_now_by_the_workers_own_clock(late: int) -> None:
    with refused(VerificationFailed, "a clock is wrong"):
        guard(at=NOW + 30 + late).seal(KEYS, approved())


def test_a_request_that_expired_by_the_workers_clock_is_refused() -> None:
    expired = NOW + 3600
    with refused(VerificationFailed, "expired"):
        guard(at=expired).seal(KEYS, approved(at=expired - 1))


# --- which rows ----------------------------------------------------------------------------------


def changed_records(record: Record) -> list[Record]:
    """Return a record's neighbours: one field other than approved."""
    key, recovery = SlotKey(1, "sealed", NOW), RecoveryKey(1, "escrowed", NOW)
    changes: dict[type, list[dict[str, Any]]] = {
        Epoch: [
            {"space": OTHER}, {"meeting": ANOTHER}, {"epoch": 9}, {"state": KeyState.SUSPENDED},
        ],
        Meeting: [{"space": OTHER}, {"meeting": ANOTHER}, {"state": MeetingState.CLOSED}],
        Hold: [{"space": OTHER}, {"hold": ANOTHER}, {"lifted": 0}],
        SpacePolicy: [{"space": OTHER}, {"retention_seconds": 1}],
        SitePolicy: [{"name": "another"}, {"text": "forbid (principal, action, resource);"}],
        Grant: [
            {"space": OTHER}, {"principal": "mallory"}, {"role": Role.AUDITOR},
            {"starts": 1}, {"expires": NOW + 61}, {"reason": "none"}, {"grant": ANOTHER},
        ],
        Recipient: [
            {"space": OTHER}, {"kind": RecipientKind.SERVER}, {"version": 2}, {"revoked": 0},
        ],
        Disk: [
            {"space": OTHER}, {"disk": ANOTHER}, {"work": Work.SLOT}, {"work": Work.NONE},
            {"key": key}, {"next_key": key}, {"recovery": recovery}, {"next_recovery": recovery},
            {"enrolled": 1, "erased": 1},
        ],
        Share: [{"space": OTHER}, {"meeting": ANOTHER}, {"partner": "legal"}, {"request": "x"}],
    }  # fmt: skip
    return [replace(record, **one) for one in changes[type(record)]]


@EVERY
def test_a_row_that_differs_from_what_was_approved_is_refused(operation: str) -> None:
    given = approved(operation, SECURITY if RULES[operation].both else None)
    good = effects(operation, _request_id(given))
    for place, (record, version) in enumerate(good):
        for other in changed_records(record):
            if operation == "meeting.destroy" and other == replace(EPOCH, epoch=9):
                continue  # every epoch of the meeting is permitted
            if isinstance(other, Meeting) and operation == "meeting.share":
                other = replace(other, state=MeetingState.DESTROYED)  # noqa: PLW2901 -- the same one, destroyed
            rows = list(given.rows)
            rows[place] = make_row(other, version)
            with refused(Forbidden):
                guard(space_of(operation)).seal(KEYS, replace(given, rows=tuple(rows)))


@EVERY
def test_more_rows_than_approved_are_refused(operation: str) -> None:
    given = approved(operation, SECURITY if RULES[operation].both else None)
    more = make_row(another_record(space_of(operation)), 1)
    one = guard(space_of(operation))
    wrong = [(*given.rows, more), (more,)]
    if given.rows:
        wrong += [(*given.rows, given.rows[0]), ()]
    for rows in wrong:
        with refused(Forbidden):
            one.seal(KEYS, replace(given, rows=rows))


def another_record(space: str) -> Record:
    """Return a record of the token's own that nobody approved."""
    if not space:
        return Space(SPACE, ReleaseClass.ROSTER, "t", 1, sealed=NOW)
    return Roster(SpaceName(space), MEETING, 1, (), "")


@pytest.mark.parametrize("operation", ["policy.change", "site-policy.change", "grant.create"])
@pytest.mark.parametrize("step", [-1, 1])
def test_another_version_than_approved_is_refused(operation: str, step: int) -> None:
    given = approved(operation)
    (row,) = given.rows
    with refused(Forbidden):
        other = replace(row, version=row.version + step)
        guard(space_of(operation)).seal(KEYS, replace(given, rows=(other,)))


@pytest.mark.parametrize(
    "change",
    [
        {"serial": "another"}, {"size": 1}, {"label": "other"}, {"mount": MountPolicy()},
        {"header": "h"}, {"volume": 1}, {"replaces": ANOTHER}, {"keks": 1}, {"erased": NOW + 30},
        {"enrolled": NOW + 30 + 61}, {"enrolled": NOW + 30 - 61},
    ],
    ids=str,
)  # fmt: skip
def test_a_disk_is_enrolled_as_approved_in_everything(change: dict[str, Any]) -> None:
    given = approved("disk.enroll")
    with refused(Forbidden):
        other = make_row(replace(ENROLLED, **change), 1)
        guard().seal(KEYS, replace(given, rows=(other,)))


@pytest.mark.parametrize("late", [-61, 61])
def test_a_disk_is_erased_now(late: int) -> None:
    given = approved("disk.erase")
    with refused(Forbidden, "a clock is wrong"):
        other = make_row(replace(ERASED, erased=NOW + 30 + late), 5)
        guard().seal(KEYS, replace(given, rows=(other,)))


@pytest.mark.parametrize(
    "change",
    [
        {"serial": "another"}, {"size": 1}, {"label": "other"}, {"mount": MountPolicy()},
        {"header": "h"}, {"volume": 1}, {"keks": 1}, {"enrolled": 1}, {"recovery": None},
        {"recovery": RecoveryKey(2, "", NOW)}, {"recovery": RecoveryKey(1, "", NOW + 1)},
    ],
    ids=str,
)  # fmt: skip
def test_a_disk_is_erased_as_it_stood(change: dict[str, Any]) -> None:
    """Else the certificate names what the caller likes: no escrow, another device, fewer KEKs."""
    given = approved("disk.erase")
    with refused(Forbidden):
        other = make_row(replace(ERASED, **change), 5)
        guard().seal(KEYS, replace(given, rows=(other,)))


@pytest.mark.parametrize(
    ("before", "error"),
    [
        (None, Forbidden),
        (SealedRow(make_row(USED, 4), bytes(32)), IntegrityFailure),
        (stored(USED, 3), Forbidden),
        (stored(USED, 5), Forbidden),
        (stored(replace(USED, disk=DiskId(ANOTHER)), 4), Forbidden),
        (stored(replace(USED, space=OTHER), 4), Forbidden),
        (stored(HOLD, 4), Forbidden),
        (stored(ERASED, 4), StateNotAllowed),
    ],
)
def test_an_erasure_shows_the_row_that_it_erases(
    before: SealedRow | None, error: type[ConclaveError]
) -> None:
    with refused(error):
        guard().seal(KEYS, replace(approved("disk.erase"), before=before))


@pytest.mark.parametrize("step", [0, 2])
def test_a_disk_is_enrolled_by_its_first_row_alone(step: int) -> None:
    """A second approval would take an enrolled disk's keys away."""
    given = approved("disk.enroll", rows=((ENROLLED, step),))
    with refused(Forbidden):
        guard().seal(KEYS, given)


def test_a_long_destruction_may_come_in_parts() -> None:
    given = approved()
    one = guard()
    for row in given.rows:
        one.seal(KEYS, replace(given, rows=(row,)))


@EVERY
def test_another_token_seals_none_of_it(operation: str) -> None:
    given = approved(operation, SECURITY if RULES[operation].both else None)
    other = SPACE if RULES[operation].site else ""
    for space in (other, OTHER):
        with pytest.raises(ConclaveError):
            guard(space).seal(KEYS, given)


@given(st.sampled_from(sorted(RULES)), st.sampled_from(sorted(RULES)), st.permutations(SECURITY))
def test_the_rows_of_one_operation_never_go_with_the_request_of_another(
    operation: str, other: str, names: list[str]
) -> None:
    if operation == other or EXAMPLES[operation] == EXAMPLES[other]:
        return
    given = approved(operation, names if RULES[operation].both else None)
    rows = tuple(make_row(*one) for one in effects(other, _request_id(given)))
    if {operation, other} == {"meeting.destroy", "epoch.destroy"} and len(rows) == 1:
        return  # an epoch of a meeting that is destroyed goes with it
    with pytest.raises(ConclaveError):
        guard(space_of(operation)).seal(KEYS, replace(given, rows=rows))


def _request_id(given: Approved) -> str:
    return given.request.key.rpartition("/")[2]
