"""What people are called: the display names of the register in force, beside their slugs.

The register belongs to the context (a visit), and only whoever may read it learns names.
"""

from contextvars import ContextVar

from kms.domain.models import Principal
from kms.domain.people import Register
from kms.domain.text import visible
from kms.errors import ConfigurationError, Forbidden, IntegrityFailure
from kms.policy.authorizer import Target
from kms.usecases.services import Services

_register: ContextVar[Register | None] = ContextVar("register", default=None)


def keep_names(services: Services, principal: Principal | None) -> None:
    """Call people in the present context as the register in force does; of one that cannot be read,
    or that ``principal`` (None: nobody) may not read, nothing is known.
    """
    _register.set(_readable(services, principal) if principal else None)


def display(name: str) -> str:
    """Return what a person of the register is called; empty for everybody else."""
    register = _register.get()
    people = register.people if register else ()
    return next((visible(one.display) for one in people if one.name == name), "")


def slugs_of(text: str) -> tuple[str, ...]:
    """Return the slugs of people who are called so in the register: exactly, or else in part."""
    register, wanted = _register.get(), text.casefold()
    people = [(one.name, one.display.casefold()) for one in (register.people if register else ())]
    exactly = tuple(slug for slug, shown in people if shown == wanted)
    return exactly or tuple(slug for slug, shown in people if wanted and wanted in shown)


def called(name: str) -> str:
    """Return a person in a text: what it is called with its slug, or the slug alone."""
    found = display(name)
    return f"{found} ({name})" if found else name


def _readable(services: Services, principal: Principal) -> Register | None:
    try:
        services.authorizer.check(principal, "people.read", Target())
        return services.registers.in_force(services.store, services.settings.paths.state).register
    except (ConfigurationError, Forbidden, IntegrityFailure):  # told by the page that is about it
        return None
