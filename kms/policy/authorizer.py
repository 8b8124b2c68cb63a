"""The one place where it is decided who may do what: Cedar policies, parsed and checked once.

It denies whatever the policies do not permit, and whatever they cannot decide. What it knows of
the site (its own policies, the labels of spaces) it is told by kms/usecases/access.py.
"""

from importlib.resources.abc import Traversable

import cedarpy

from kms.domain.models import Principal, Role, RotationReason
from kms.errors import Forbidden, NotFound
from kms.operations import OPERATIONS
from kms.policy.explanation import Explanation, explain
from kms.policy.question import SpaceFacts, Target, entities_of, request_of
from kms.policy.source import Policy, Shipped, policy_set

__all__ = ["NOT_THERE", "Authorizer", "SpaceFacts", "Target"]

NOT_THERE = "there is no such thing"
_CACHED = 4096
_AGE = "age_seconds"

_Question = tuple[Principal, str, Target, int]


class Authorizer:
    """Asks the policies; remembers answers by everything that went into them."""

    def __init__(self, shipped: Shipped, policies: tuple[Policy, ...]) -> None:
        self.shipped = shipped
        self._permitted: dict[_Question, bool] = {}
        self._facts: dict[str, SpaceFacts] = {}
        self.use(policies)

    @classmethod
    def load(cls, folder: Traversable | None = None) -> "Authorizer":
        """Return the authorizer of the policies in ``folder`` (default: the built-in ones).

        Raise ConfigurationError unless every policy fits the schema.
        """
        shipped = Shipped.load(folder)
        return cls(shipped, shipped.policies)

    def use(self, policies: tuple[Policy, ...]) -> None:
        """Decide by these policies from now on (``Shipped.with_site``)."""
        self.policies = policies
        self._engine: cedarpy.PolicySet = policy_set(policies)
        self.asks_age = any(_AGE in str(policy.form) for policy in policies)
        self._permitted.clear()

    def learn(self, spaces: dict[str, SpaceFacts]) -> None:
        """Go by these facts of spaces from now on; of all others nothing is known."""
        self._facts = dict(spaces)
        self._permitted.clear()

    def check(self, principal: Principal, operation_id: str, target: Target) -> None:
        """Raise NotFound if the space is none of the caller's, Forbidden if the policies say no."""
        if target.space and not principal.reaches(target.space):
            raise NotFound(NOT_THERE)
        question = (principal, operation_id, target, principal.age if self.asks_age else 0)
        permitted = self._permitted.get(question)
        if permitted is None:
            permitted = self._remember(question)
        if not permitted:
            raise _forbidden(principal, operation_id, target)

    def explain(self, principal: Principal, operation_id: str, target: Target) -> Explanation:
        """Return how the policies decide, and by which of them."""
        facts = self._facts.get(target.space, SpaceFacts())
        request = request_of(principal, operation_id, target)
        entities = entities_of(principal, target, facts, principal.age)
        return explain(self.policies, self.shipped.schema, request, entities)

    def _remember(self, question: _Question) -> bool:
        while len(self._permitted) >= _CACHED:
            del self._permitted[next(iter(self._permitted))]
        permitted = self._permitted[question] = self._ask(*question)
        return permitted

    def _ask(self, principal: Principal, operation_id: str, target: Target, age: int = 0) -> bool:
        facts = self._facts.get(target.space, SpaceFacts())
        request = request_of(principal, operation_id, target)
        entities = entities_of(principal, target, facts, age)
        try:
            answer = cedarpy.is_authorized(request, self._engine, entities, self.shipped.schema)
        except ValueError as error:
            raise Forbidden("the policies could not decide") from error
        return answer.allowed and not answer.diagnostics.errors


def _forbidden(principal: Principal, operation_id: str, target: Target) -> Forbidden:
    """Return the refusal, with a hint at whose operation it is."""
    operation = OPERATIONS.get(operation_id)
    roles = tuple(sorted(operation.roles)) if operation else ()
    rotates = operation_id == "epoch.rotate" and Role.OFFICER in principal.roles
    hint = "conclave policy explain tells people why"
    if rotates and target.reason != RotationReason.SUSPICION:
        hint = "officers rotate for suspicion only: --reason suspicion"
    elif roles:
        hint = (
            "it is for the role {roles}, within its space and its duties; conclave policy explain "
            "tells people why"
        )
    about = {"operation": operation_id, "roles": roles}
    return Forbidden("{operation} is not permitted", hint=hint, about=about)
