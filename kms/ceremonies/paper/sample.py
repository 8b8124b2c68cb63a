"""The site of the handbook's examples: the people whom the example of initialise-site brings in."""

from kms.ceremonies.catalogue import read_brief
from kms.ceremonies.ceremony import Ceremony
from kms.ceremonies.examples import example
from kms.ceremonies.kinds.initialise_site import NAME
from kms.ceremonies.plan import Plan, parse_plan
from kms.ceremonies.room import Brief, SiteBinding
from kms.domain.people import Register
from kms.settings import Rotation

_SPACES = ("treasury", "investment-banking")


def example_brief(ceremony: Ceremony) -> Brief:
    """Return what is known before a kind's example is held; raise InvalidInput for an example
    that does not hold.
    """
    plan = parse_plan(ceremony.example.encode())
    return read_brief(plan, example_register(), "", example_site(plan))


def example_register() -> Register:
    """Return the register of people that the example of initialise-site founds."""
    plan = parse_plan(example(NAME).encode())
    return read_brief(plan, None, "", example_site(plan)).register


def example_site(plan: Plan) -> SiteBinding:
    """Return a configuration that has what the examples name."""
    return SiteBinding(
        site=plan.file.site,
        tokens={"": "site", **{space: f"space-{space}" for space in _SPACES}},
        epoch_seconds=Rotation().epoch_seconds,
        software_credentials=False,
        offline_image=True,
    )
