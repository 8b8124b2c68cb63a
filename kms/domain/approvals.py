"""What needs the approval of several people, what a request for it names, and how it is counted.

Stopping is safe alone; what starts, loosens or destroys stands in RULES. Quorums count people: each
person counts for one need.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kms.domain.disks import DiskTarget, DiskWish
from kms.domain.grants import Grant
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Role
from kms.domain.people import Person, Register
from kms.domain.policies import GroupNeed, SpacePolicy
from kms.domain.reports import ReportTarget
from kms.errors import InvalidInput

LEAST_PEOPLE = 2
"""No request is ever carried out on fewer people's word."""
MOST_PEOPLE = 100
"""More than that are never asked for."""


class RequestState(StrEnum):
    """What became of a request. One that expires simply never leaves ``pending``."""

    PENDING = "pending"
    EXECUTED = "executed"
    CANCELLED = "cancelled"


class Standing(StrEnum):
    """How a request stands now. ``outdated``: register or quorum changed since it was made."""

    PENDING = "pending"
    OUTDATED = "outdated"
    EXPIRED = "expired"
    EXECUTED = "executed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Request:
    """A frozen request and what was handed in for it. ``space`` is empty for the site's own.

    ``request`` is the requester's JWS (statements/request.py), ``approvals`` those of officers.
    """

    space: str
    id: str
    request: str
    approvals: tuple[str, ...] = ()
    state: RequestState = RequestState.PENDING
    ended: int = 0


# --- parameters ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EpochTarget:
    """One epoch of a meeting."""

    meeting: MeetingId
    epoch: int


@dataclass(frozen=True, slots=True)
class MeetingTarget:
    """One meeting."""

    meeting: MeetingId


@dataclass(frozen=True, slots=True)
class HoldTarget:
    """One legal hold."""

    hold: str


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A space's new policy; ``version`` that its row will have: it follows what was seen."""

    policy: SpacePolicy
    version: int


@dataclass(frozen=True, slots=True)
class SitePolicyChange:
    """The site's new Cedar policies; ``version`` as in PolicyChange."""

    text: str
    version: int


@dataclass(frozen=True, slots=True)
class GrantWish:
    """A role in the space for a principal, from ``starts`` until ``expires``."""

    principal: str
    role: Role
    starts: int
    expires: int


@dataclass(frozen=True, slots=True)
class Sharing:
    """A meeting of the space and the partner whose vault shall receive its keys too."""

    meeting: MeetingId
    partner: SpaceName


@dataclass(frozen=True, slots=True)
class VaultTarget:
    """An older vault key of the space, by its version."""

    version: int


Parameters = (
    EpochTarget
    | MeetingTarget
    | HoldTarget
    | PolicyChange
    | SitePolicyChange
    | GrantWish
    | Sharing
    | VaultTarget
    | DiskWish
    | DiskTarget
    | ReportTarget
)


class Groups(StrEnum):
    """Which groups of officers have to approve if the space's policy names no others."""

    FIRST = "first"
    EVERY = "every"


@dataclass(frozen=True, slots=True)
class Rule:
    """An operation that needs approval. ``both``: officers of the partner's space as well.
    ``site``: it is about the site, not about a space.
    """

    parameters: type[Parameters]
    groups: Groups
    summary_en: str
    summary_zh: str
    both: bool = False
    site: bool = False


RULES: dict[str, Rule] = {
    "epoch.resume": Rule(
        EpochTarget, Groups.FIRST, "Take a suspended key into use again", "恢复使用已暂停的密钥"
    ),
    "epoch.destroy": Rule(
        EpochTarget, Groups.FIRST, "Destroy the key of one epoch", "销毁一个密钥周期的密钥"
    ),
    "meeting.destroy": Rule(
        MeetingTarget, Groups.FIRST, "Destroy every key of a closed meeting",
        "销毁已结束会议的全部密钥",
    ),
    "hold.lift": Rule(HoldTarget, Groups.EVERY, "Lift a legal hold", "解除法律保全"),
    "policy.change": Rule(
        PolicyChange, Groups.EVERY, "Change a space's policy", "变更空间策略"
    ),
    "site-policy.change": Rule(
        SitePolicyChange, Groups.EVERY, "Change the site's access policies", "变更站点访问策略",
        site=True,
    ),
    "grant.create": Rule(
        GrantWish, Groups.FIRST, "Grant a role for a time", "授予限时角色"
    ),
    "meeting.share": Rule(
        Sharing, Groups.FIRST, "Share a meeting's keys with another space",
        "与另一空间共享会议密钥", both=True,
    ),
    "vault.retire": Rule(
        VaultTarget, Groups.FIRST, "Destroy an older vault key that keeps nothing any more",
        "销毁不再保管任何密钥的旧版保管库密钥",
    ),
    "disk.enroll": Rule(
        DiskWish, Groups.FIRST, "Make a device an encrypted disk of the space",
        "将设备登记为空间的加密磁盘",
    ),
    "disk.erase": Rule(
        DiskTarget, Groups.FIRST, "Erase a disk by destroying its keys",
        "销毁密钥以擦除磁盘",
    ),
    "report.unmask": Rule(
        ReportTarget, Groups.FIRST, "Export a compliance report with full names",
        "导出含完整姓名的密码应用合规报告", site=True,
    ),
}  # fmt: skip


def default_needs(rule: Rule, register: Register, partner: str = "") -> tuple[GroupNeed, ...]:
    """Return the quorum that applies where no policy names another."""
    sides = ("", partner) if rule.both else ("",)
    needs = _group_needs(rule, register)
    return tuple(replace(need, space=side) for side in sides for need in needs)


def _group_needs(rule: Rule, register: Register) -> tuple[GroupNeed, ...]:
    """Return what one side needs: the groups' thresholds; where two sides approve, the fewest
    people of each, since nobody counts for both.
    """
    groups = register.groups[:1] if rule.groups is Groups.FIRST else register.groups
    return tuple(
        GroupNeed(one.name, LEAST_PEOPLE if rule.both else one.threshold) for one in groups
    )


def side_needs(
    operation: str, register: Register, policy: SpacePolicy | None, side: str = ""
) -> tuple[GroupNeed, ...]:
    """Return who must approve an operation for one space: whom its policy names, else the default.
    ``side``: the space, where it is not the one that the request is about.
    """
    rule = RULES[operation]
    stated = policy.quorum(operation) if policy else ()
    needs = stated or _group_needs(rule, register)
    return tuple(replace(need, space=need.space or side) for need in needs)


def check_needs(needs: Sequence[GroupNeed]) -> None:
    """Raise InvalidInput unless somebody has to approve, and nobody could do it alone."""
    people = sum(need.count for need in needs)
    if any(need.count < 1 for need in needs) or not LEAST_PEOPLE <= people <= MOST_PEOPLE:
        raise InvalidInput(
            f"{LEAST_PEOPLE} to {MOST_PEOPLE} people approve, and each need names at least one"
        )


def unmet(
    needs: Sequence[GroupNeed], space: str, people: Sequence[Person]
) -> tuple[GroupNeed, ...]:
    """Return what is still missing, as needs; nothing if these people are enough.

    Each person counts for one need: the largest matching of people to places is found.
    """
    places = [index for index, need in enumerate(needs) for _ in range(need.count)]
    taken: dict[int, int] = {}

    def fits(person: Person, place: int) -> bool:
        need = needs[places[place]]
        return person.group == need.group and person.reaches(need.space or space)

    distinct = list({person.name: person for person in people}.values())
    for number in range(len(distinct)):
        _seat(number, distinct, len(places), fits, taken, set())
    open_places = [places[place] for place in range(len(places)) if place not in taken]
    return tuple(
        GroupNeed(need.group, open_places.count(index), need.space)
        for index, need in enumerate(needs)
        if index in open_places
    )


def _seat(
    number: int,
    people: Sequence[Person],
    places: int,
    fits: Callable[[Person, int], bool],
    taken: dict[int, int],
    tried: set[int],
) -> bool:
    """Give a person a place, moving others if need be (augmenting path)."""
    for place in range(places):
        if place in tried or not fits(people[number], place):
            continue
        tried.add(place)
        if place not in taken or _seat(taken[place], people, places, fits, taken, tried):
            taken[place] = number
            return True
    return False


def grant_of(space: SpaceName, request: str, wish: GrantWish, reason: str) -> Grant:
    """Return the grant that an approved request makes."""
    return Grant(
        space=space,
        grant=request,
        principal=wish.principal,
        role=wish.role,
        starts=wish.starts,
        expires=wish.expires,
        reason=reason,
    )
