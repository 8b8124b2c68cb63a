"""Escrow status: generations, coverage of every key, drills, and what is owed.

Generations and recoveries are read from the log, which was checked when the service started;
whose drill is due from the register of people, which the site root signed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kms.domain.people import Part, Register
from kms.policy.authorizer import Target
from kms.statements import archive
from kms.usecases.coverage import Coverage, Gap, count_space
from kms.usecases.escrow_log import Generation, Obligation
from kms.usecases.queries import is_present, living_spaces
from kms.usecases.services import Call, Services, authorize


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
