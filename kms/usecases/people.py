"""The register of people in force, for those who watch the site."""

from kms.policy.authorizer import Target
from kms.usecases.approvals.registers import InForce
from kms.usecases.services import Call, Services, authorize


async def people(services: Services, call: Call) -> InForce:
    """Return the register of people in force; raise Forbidden, ConfigurationError,
    IntegrityFailure.
    """
    await authorize(services, call, Target(), "people")
    return services.registers.in_force(services.store, services.settings.paths.state)
