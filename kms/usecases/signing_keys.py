"""The keys that sign for the site, as its root vouches for them."""

from kms.policy.authorizer import Target
from kms.statements.keylist import KeyList, verify_keylist
from kms.usecases.approvals.registers import site_root
from kms.usecases.services import Call, Services, authorize


async def signing_keys(services: Services, call: Call) -> KeyList:
    """Return the newest key list; raise ConfigurationError if the site root cannot be read,
    VerificationFailed unless that root signed the list.
    """
    await authorize(services, call, Target(), "key-list")
    return verify_keylist(services.key_list, site_root(services.settings.paths.state))
