"""Policies, why they decide as they do, and time-bound grants."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from kms.domain.models import Role
from kms.wire.base import Count, Space, Text, Time, Wire

_Many = Field(max_length=10_000)
_Few = Field(max_length=100)
Cedar = Annotated[str, StringConstraints(max_length=64 << 10)]


class LabelsOut(Wire):
    """What the policy engine knows of a space; empty: not said."""

    department: Text
    business_type: Text
    region: Text
    customer_level: Text
    classification: Text


class RotationRulesOut(Wire):
    """When epochs end. Whole seconds, quiet hours in minutes of the day (UTC); 0: switched off."""

    interval_seconds: Count
    maximum_age_seconds: Count
    join_age_seconds: Count
    maximum_uses: Count
    quiet_from: Count
    quiet_until: Count
    publish_ahead_seconds: Count
    vault_seconds: Count


class NeedOut(Wire):
    """So many officers of a group; ``space``: those who reach it, empty: the request's own."""

    group: Text
    count: Count
    space: Text


class QuorumOut(Wire):
    """Who must approve an operation, instead of the default."""

    operation: Text
    needs: Annotated[tuple[NeedOut, ...], _Few]


class ThresholdOut(Wire):
    """From which number on an alert is raised; 0: never."""

    alert: Text
    number: Count


class SpacePolicyOut(Wire):
    """One space's policy, in the form that a policy.change takes."""

    space: Space
    labels: LabelsOut
    rotation: RotationRulesOut
    retention_seconds: Count
    quorums: Annotated[tuple[QuorumOut, ...], _Few]
    thresholds: Annotated[tuple[ThresholdOut, ...], _Few]


class PolicyOut(Wire):
    """The policy in force in a space; ``version`` 0: it has none of its own, these are the
    configuration's defaults.
    """

    space: Space
    version: Count
    policy: SpacePolicyOut


class PolicyEntry(Wire):
    """An access policy; ``effect`` is permit or forbid, ``source`` the file that it stands in, or
    site-policy.
    """

    id: Text
    effect: Text
    source: Text


class SitePolicyOut(Wire):
    """The site's own access policies (Cedar; ``version`` 0: none), and all that are in force."""

    version: Count
    text: Cedar
    policies: Annotated[tuple[PolicyEntry, ...], _Many]


class Explain(Wire):
    """Who would do what; without ``space`` an operation of the site. The rest is what only some
    operations ask for: an envelope's recipient on the roster, the caller's own key, why a key is
    rotated.
    """

    principal: Text
    operation: Text
    space: Space | None = None
    on_roster: bool = False
    own_recipient: bool = False
    reason: Text = ""


class MissingOut(Wire):
    """What a permit wants: a role's name, a type, or the text of a condition (Cedar)."""

    lack: Literal["role", "principal", "resource", "condition"]
    wanted: Cedar


class NearMissOut(PolicyEntry):
    """A permit for the operation that does not apply, and why."""

    missing: Annotated[tuple[MissingOut, ...], _Few]


class ExplanationOut(Wire):
    """A decision. ``deciding``: the policies that made it; none, if it is denied because nothing
    permits it: then ``near`` are the permits for the operation. ``grant``: the time-bound grant
    that it needs. ``errors``: what the policies could not decide, which denies.
    """

    permitted: bool
    deciding: Annotated[tuple[PolicyEntry, ...], _Many]
    near: Annotated[tuple[NearMissOut, ...], _Many] = ()
    errors: Annotated[tuple[Text, ...], _Few] = ()
    grant: Text | None = None


class GrantOut(Wire):
    """A role in a space for a while. ``last_used``: to the hour. ``flags``: ``unused``,
    ``forgotten``.
    """

    grant: Text
    space: Space
    principal: Text
    role: Role
    starts: Time
    expires: Time
    reason: Text
    state: Literal["scheduled", "in-force", "expired", "revoked"]
    revoked: Time | None = None
    last_used: Time | None = None
    flags: Annotated[tuple[Literal["unused", "forgotten"], ...], _Few] = ()


class GrantList(Wire):
    """The grants of the spaces that the caller may know of: those in force first, then by their
    end, the latest first; at most 10,000. Of the spaces ``unknown`` none was looked at: their token
    cannot be asked.
    """

    items: Annotated[tuple[GrantOut, ...], _Many]
    unknown: Annotated[tuple[Space, ...], _Many] = ()
