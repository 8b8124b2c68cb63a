"""Cedar texts, read: each policy by its @id, with where it stands. Refuses what does not fit the
schema, what has no id or another's, templates, and texts too much for the parser (bounds.py).
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import cedarpy

from kms.errors import ConfigurationError, InvalidInput
from kms.policy.bounds import check_bounds

_ID = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy: ``effect`` is permit or forbid, ``source`` the file it stands in, ``form`` its
    Cedar JSON.
    """

    id: str
    effect: str
    source: str
    form: dict[str, Any]

    @property
    def text(self) -> str:
        """It, as Cedar writes it."""
        return str(policy_set([self]))


@dataclass(frozen=True, slots=True)
class Shipped:
    """What comes with the software: the schema, and the policies that no site can take away."""

    schema: cedarpy.Schema
    policies: tuple[Policy, ...]

    @classmethod
    def load(cls, folder: Traversable | None = None) -> "Shipped":
        """Return the schema and policies in a folder (default: the built-in ones); raise
        ConfigurationError.
        """
        place = folder or resources.files("kms.policy")
        try:
            files = sorted(place.iterdir(), key=lambda file: file.name)
            schema = cedarpy.Schema.from_str(_schema(files))
            policies = [
                policy
                for file in files
                if file.name.endswith(".cedar")
                for policy in read_policies(file.read_text("utf-8"), file.name, schema)
            ]
            _refuse_twins(policies)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"the policies cannot be read: {error}") from error
        except InvalidInput as error:
            raise ConfigurationError(error.message) from error
        return cls(schema, tuple(policies))

    def with_site(self, texts: Iterable[tuple[str, str]]) -> tuple[Policy, ...]:
        """Return these policies and then a site's own, from pairs of source and text; raise
        InvalidInput, also for an id that is taken.
        """
        own = [policy for name, text in texts for policy in read_policies(text, name, self.schema)]
        everything = (*self.policies, *own)
        _refuse_twins(everything)
        return everything


def read_policies(text: str, source: str, schema: cedarpy.Schema) -> list[Policy]:
    """Return the policies of a text in their order; raise InvalidInput, which names source and
    policy.
    """
    check_bounds(text, source)
    found = [_policy(one, source) for one in _forms(text, source)]
    _refuse_twins(found)
    checked = cedarpy.validate_policies(text, schema)
    if not checked.validation_passed:
        names = checked.id_annotations_by_policy_id
        said = [f"{names.get(one.policy_id, '')}: {_short(one.error)}" for one in checked.errors]
        raise InvalidInput(f"{source}: {'; '.join(said)}")
    return found


def _forms(text: str, source: str) -> list[dict[str, Any]]:
    try:
        whole = cedarpy.policies_to_json_str(text)
    except ValueError as error:
        raise InvalidInput(f"{source}: {error}") from None
    try:
        cedarpy.PolicySet.from_json_str(whole)
        form = json.loads(whole)
    except (ValueError, RecursionError):
        raise InvalidInput(
            f"{source}: a condition is too long", hint="write several policies, or a set"
        ) from None
    if form["templates"]:
        raise InvalidInput(f"{source}: a template (?principal, ?resource) decides nothing here")
    return list(form["staticPolicies"].values())


def policy_set(policies: Iterable[Policy]) -> cedarpy.PolicySet:
    """Return policies for the engine, which then names them by their ids."""
    forms = {policy.id: policy.form for policy in policies}
    document = {"staticPolicies": forms, "templates": {}, "templateLinks": []}
    return cedarpy.PolicySet.from_json_str(json.dumps(document))


def _schema(files: Sequence[Traversable]) -> str:
    parts = [file.read_text("utf-8") for file in files if file.name.endswith(".cedarschema")]
    return "\n".join(parts)


def _policy(form: dict[str, Any], source: str) -> Policy:
    name = form.get("annotations", {}).get("id") or ""
    if not _ID.fullmatch(name):
        raise InvalidInput(f'{source}: every policy has an @id("..."), a slug of a-z, 0-9, -')
    return Policy(name, form["effect"], source, form)


def _refuse_twins(policies: Iterable[Policy]) -> None:
    for name, count in Counter(policy.id for policy in policies).items():
        if count > 1:
            raise InvalidInput(f"two policies have the id {name}")


def _short(error: str) -> str:
    """Return an error without the engine's own number of the policy."""
    return re.sub(r"^for policy `policy\d+`, ", "", error)
