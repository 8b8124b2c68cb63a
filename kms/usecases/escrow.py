"""Escrow status: generations, coverage of every key, drills, and what is owed.

Generations and recoveries are read from the log, which was checked when the service started;
whose drill is due from the register of people, which the site root signed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kms.domain.coverage import Coverage, Gap
from kms.domain.people import Part, Register
from kms.policy.authorizer import Target
from kms.statements import archive
from kms.usecases.coverage import count_space
from kms.usecases.escrow_log import Generation, Obligation
from kms.usecases.queries import is_present, living_spaces
from kms.usecases.services import Call, Services, authorize
from kms.usecases.veil import is_hidden


@dataclass(frozen=True, slots=True)
class Holder:
    """An officer and when their drill is due (whole seconds)."""

    person: str
    due: int
    overdue: bool


@dataclass(frozen=True, slots=True)
class EscrowStatus:
    """Everything that people need to know; ``blobs`` are the generations whose private halves, for
    meetings and for disks, lie in the state directory under the SWK. Of the spaces ``unknown`` no
    key could be looked at, since their token cannot be asked.
    """

    generations: tuple[Generation, ...]
    blobs: frozenset[int]
    coverage: Coverage
    unknown: tuple[str, ...]
    drilled: str
    holders: tuple[Holder, ...]
    obligations: tuple[Obligation, ...]

    @property
    def attention(self) -> bool:
        """Whether people have to do something about it."""
        return bool(
            self.coverage.gaps
            or self.unknown
            or self.obligations
            or any(one.overdue for one in self.holders)
            or any(
                not one.destroyed and one.generation not in self.blobs for one in self.generations
            )
        )

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The first gaps."""
        return tuple(self.coverage.shown)


async def escrow_status(services: Services, call: Call) -> EscrowStatus:
    """Return the status of escrow for the spaces that the caller may know of.

    Looks at every epoch. Raise IntegrityFailure, ConfigurationError, HsmUnavailable.
    """
    await authorize(services, call, Target(), "escrow")
    state = services.settings.paths.state
    register = services.registers.in_force(services.store, state).register
    known, blobs, live = live_generations(services)
    coverage, names = Coverage(), [one.space for one in await living_spaces(services, call)]
    unknown = tuple(name for name in names if not is_present(services, name))
    for name in names:
        if name not in unknown:
            await count_space(services, name, live, coverage)
    return EscrowStatus(
        generations=tuple(known[n] for n in sorted(known)),
        blobs=blobs,
        coverage=coverage,
        unknown=unknown,
        drilled=services.escrow_log.drilled,
        holders=_holders(register, services.seconds()),
        obligations=services.escrow_log.obligations(),
    )


@dataclass(frozen=True, slots=True)
class Covered:
    """How many of a space's keys that are not destroyed could be recovered."""

    space: str
    epochs: int
    covered: int


@dataclass(frozen=True, slots=True)
class EscrowOverview:
    """Escrow without a look at the keys: what the watcher counted at ``counted`` (whole seconds; 0:
    not yet) in the caller's spaces, all else as it is now. Of gaps only the first are shown; one
    without a meeting is of a meeting that the caller may not learn of.
    """

    generations: tuple[Generation, ...]
    blobs: frozenset[int]
    counted: int
    spaces: tuple[Covered, ...]
    gaps: tuple[Gap, ...]
    unknown: tuple[str, ...]
    drilled: str
    holders: tuple[Holder, ...]
    obligations: tuple[Obligation, ...]


async def escrow_overview(services: Services, call: Call) -> EscrowOverview:
    """Return escrow as last counted; raise IntegrityFailure, ConfigurationError."""
    await authorize(services, call, Target(), "escrow")
    register = services.registers.in_force(services.store, services.settings.paths.state).register
    known, blobs, _live = live_generations(services)
    last, reaches = services.watched.facts.escrow, call.principal.reaches
    found = last.coverage if last and last.coverage else Coverage()
    return EscrowOverview(
        generations=tuple(known[n] for n in sorted(known)),
        blobs=blobs,
        counted=last.counted if last else 0,
        spaces=tuple(
            Covered(name, found.epochs[name], found.covered[name])
            for name in sorted(found.epochs)
            if reaches(name)
        ),
        gaps=tuple(
            [await _veiled(services, call, one) for one in found.shown if reaches(one.space)]
        ),
        unknown=tuple(filter(reaches, last.unknown if last else ())),
        drilled=services.escrow_log.drilled,
        holders=_holders(register, services.seconds()),
        obligations=services.escrow_log.obligations(),
    )


async def _veiled(services: Services, call: Call, gap: Gap) -> Gap:
    hidden = await is_hidden(services, call.principal, gap.space, gap.meeting)
    return replace(gap, meeting="") if hidden else gap


def live_generations(
    services: Services,
) -> tuple[Mapping[int, Generation], frozenset[int], frozenset[int]]:
    """Return every generation by its number, those both of whose private halves are kept, and those
    that can recover keys of meetings: not destroyed, and their private half for that is kept.
    """
    services.escrow_log.read(services.store)
    known, state = services.escrow_log.generations, services.settings.paths.state
    opens, disks = (
        frozenset(n for n in known if (state / name.format(n)).is_file())
        for name in archive.ESCROW_BLOBS
    )
    return known, opens & disks, frozenset(n for n in opens if not known[n].destroyed)


def _holders(register: Register, now: int) -> tuple[Holder, ...]:
    return tuple(
        Holder(one.name, one.drill_due, one.drill_due <= now)
        for one in sorted(register.people, key=lambda one: (one.drill_due, one.name))
        if one.part is Part.OFFICER and not one.removed
    )
