"""Cases that a site's policies are held to: who would do what, and what must come of it.

A file of cases is TOML; unknown keys are refused.
"""

from typing import Literal

import msgspec

from kms.domain.models import CallerLabels, Principal, PrincipalKind, Role, Strength
from kms.domain.policies import Labels
from kms.errors import InvalidInput
from kms.operations import OPERATIONS
from kms.policy.authorizer import Authorizer
from kms.policy.explanation import Explanation
from kms.policy.question import SpaceFacts, Target


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file."""


class Who(_Table, frozen=True):
    """The caller, as [[caller]] of the configuration has it, and how it proved itself."""

    name: str = "somebody"
    roles: tuple[Role, ...] = ()
    spaces: tuple[str, ...] = ()
    department: str = ""
    business_type: str = ""
    region: str = ""
    staff_number: str = ""
    strength: Literal[1, 2, 3] = 1
    age_seconds: int = 0

    def principal(self) -> Principal:
        """Return it as a principal."""
        labels = CallerLabels(self.department, self.business_type, self.region, self.staff_number)
        return Principal(
            self.name,
            PrincipalKind.SOCKET if self.strength == 1 else PrincipalKind.TLS,
            "case",
            frozenset(self.roles),
            frozenset(self.spaces),
            labels=labels,
            strength=Strength(self.strength),
            age=self.age_seconds,
        )


class Where(_Table, frozen=True):
    """The space."""

    name: str
    release_class: Literal["trusted", "roster"] = "trusted"
    department: str = ""
    business_type: str = ""
    region: str = ""
    customer_level: str = ""
    classification: str = ""

    def facts(self) -> SpaceFacts:
        """Return what the policies know of it."""
        labels = Labels(
            self.department,
            self.business_type,
            self.region,
            self.customer_level,
            self.classification,
        )
        return SpaceFacts(self.release_class, labels)


class Context(_Table, frozen=True):
    """What only some operations ask for."""

    on_roster: bool = False
    own_recipient: bool = False
    reason: str = ""


class Case(_Table, frozen=True):
    """One case. Without ``space`` it is an operation of the site. ``policies``: the ids of those
    that must decide, exactly; not said: any.
    """

    name: str
    principal: Who
    operation: str
    expect: Literal["allow", "deny"]
    space: Where | None = None
    context: Context = Context()
    policies: tuple[str, ...] | None = None

    def ask(self, authorizer: Authorizer) -> Explanation:
        """Return how the policies decide it."""
        name = self.space.name if self.space else ""
        authorizer.learn({name: self.space.facts()} if self.space else {})
        target = Target(
            space=name,
            on_roster=self.context.on_roster,
            own_recipient=self.context.own_recipient,
            reason=self.context.reason,
        )
        return authorizer.explain(self.principal.principal(), self.operation, target)

    def holds(self, found: Explanation) -> bool:
        """Whether it came as expected."""
        deciding = {policy.id for policy in found.deciding}
        wanted = deciding if self.policies is None else set(self.policies)
        return found.permitted is (self.expect == "allow") and deciding == wanted


class _File(_Table, frozen=True):
    case: tuple[Case, ...]


def read_cases(text: str) -> tuple[Case, ...]:
    """Return the cases of a file; raise InvalidInput."""
    try:
        cases = msgspec.toml.decode(text, type=_File).case
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidInput(f"the cases cannot be read: {error}") from None
    for case in cases:
        if case.operation not in OPERATIONS:
            raise InvalidInput(f"{case.name}: there is no operation {case.operation}")
    return cases
