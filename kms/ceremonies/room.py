"""The room in which a ceremony is held: plan, people, tokens, files, records. Steps act in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from kms.ceremonies.plan import Parameters, Plan
from kms.ceremonies.ports import CeremonyToken, Files, People, PinBox, Records
from kms.domain.people import Register
from kms.errors import InvalidInput

_P = TypeVar("_P", bound=Parameters)


Facts: TypeAlias = dict[str, Any]
"""What came of a step, for the transcript: canonical builtins, nothing secret."""


@dataclass(frozen=True, slots=True)
class SiteBinding:
    """What the configuration says of the site; ``tokens`` maps a space (empty: the site itself)
    to its token's label. ``software_credentials`` says whether the site allows signing keys that
    lie in files; ``offline_image`` whether this is the offline ceremony image. Keys of a space
    without a policy of its own are kept ``retention_seconds`` after their meeting's end.
    """

    site: str
    tokens: Mapping[str, str]
    epoch_seconds: int
    software_credentials: bool
    offline_image: bool
    retention_seconds: int = 0

    def token(self, space: str = "") -> str:
        """Return the label of a space's token, or of the site's own."""
        return self.tokens[space]


@dataclass(frozen=True, slots=True)
class Brief:
    """What is known before anything is done: enough to write the script and the handbook.

    ``register`` is the present one; of a site's first ceremony the one that its plan founds.
    ``register_token`` is its JWS, empty in that case.
    """

    plan: Plan
    parameters: Parameters
    register: Register
    register_token: str
    site: SiteBinding

    def parameters_as(self, kind: type[_P]) -> _P:
        """Return the parameters, which are of the plan's own kind; raise InvalidInput."""
        if not isinstance(self.parameters, kind):
            raise InvalidInput(f"these are not the parameters of {self.plan.file.ceremony}")
        return self.parameters


@dataclass(slots=True)
class Room:
    """Everything that a step may use.

    ``memory`` holds a section's secrets and is emptied at its end; ``facts`` are those of all
    steps done so far, by step id.
    """

    brief: Brief
    tokens: Callable[[str], CeremonyToken]
    pins: PinBox
    people: People
    files: Files
    records: Records
    now: Callable[[], int]
    facts: dict[str, Facts] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict, repr=False)
