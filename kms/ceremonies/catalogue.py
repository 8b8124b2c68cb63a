"""All kinds of ceremonies, and how a plan becomes a brief."""

from kms.ceremonies.ceremony import Ceremony
from kms.ceremonies.kinds import (
    create_space,
    destroy_space,
    drill,
    initialise_site,
    new_generation,
    recover,
    recover_disk,
    register_recipient,
    replace_officer,
    restore_site,
    retire_space,
    revoke_recipient,
    rotate_vault,
    unseal,
)
from kms.ceremonies.kinds.initialise_site import FoundSite, founded
from kms.ceremonies.plan import Plan, parse_parameters
from kms.ceremonies.room import Brief, SiteBinding
from kms.domain.people import Register
from kms.errors import InvalidInput, StateNotAllowed

CEREMONIES: dict[str, Ceremony] = {
    kind.name: kind
    for kind in (
        initialise_site.CEREMONY,
        create_space.CEREMONY,
        retire_space.CEREMONY,
        register_recipient.CEREMONY,
        revoke_recipient.CEREMONY,
        rotate_vault.CEREMONY,
        drill.CEREMONY,
        replace_officer.CEREMONY,
        new_generation.CEREMONY,
        recover.CEREMONY,
        recover_disk.CEREMONY,
        restore_site.CEREMONY,
        destroy_space.CEREMONY,
        unseal.CEREMONY,
    )
}


def ceremony_of(plan: Plan) -> Ceremony:
    """Return the kind that a plan names; raise InvalidInput."""
    try:
        return CEREMONIES[plan.file.ceremony]
    except KeyError:
        raise InvalidInput(
            f"there is no ceremony {plan.file.ceremony}",
            hint=f"it is one of {', '.join(CEREMONIES)}",
        ) from None


def read_brief(
    plan: Plan, register: Register | None, register_token: str, site: SiteBinding
) -> Brief:
    """Return what a plan says about a site, checked; ``register`` is the present one with its JWS,
    None and empty before the first. Raise InvalidInput, VerificationFailed, StateNotAllowed.
    """
    ceremony = ceremony_of(plan)
    if plan.file.site != site.site:
        raise InvalidInput(f"the plan is for the site {plan.file.site}, this is {site.site}")
    parameters = parse_parameters(plan, ceremony.parameters)
    if isinstance(parameters, FoundSite):
        register, register_token = founded(plan, parameters, site), ""
    if register is None:
        raise StateNotAllowed(
            "the site has no register of people", hint="hold the ceremony initialise-site first"
        )
    brief = Brief(plan, parameters, register, register_token, site)
    ceremony.check(brief)
    return brief
