"""Spaces and recipients that ceremonies registered enter the store through the log.

Ceremonies write ``registrations.json`` into the state directory; what is in it has a key on the
space's token, put there by the security officer, and the token decides who receives keys.
"""

from dataclasses import dataclass
from pathlib import Path

from kms.audit.leaf import Outcome, Phase
from kms.domain.models import Recipient, Space
from kms.domain.rows import row_key
from kms.errors import ConfigurationError, InvalidInput
from kms.ports import PutRow, RowKeeper, Unit
from kms.statements.canonical import decode_record, make_row
from kms.usecases.activations import SERVICE
from kms.usecases.services import Call, Services

FILE = "registrations.json"


@dataclass(frozen=True, slots=True)
class Registrations:
    """The file: canonical JSON of all spaces and recipients of the site."""

    spaces: tuple[Space, ...]
    recipients: tuple[Recipient, ...]


async def import_registrations(services: Services) -> None:
    """Store and log what is new in the file; raise ConfigurationError if it cannot be read."""
    listed = _read(services.settings.paths.state / FILE)
    for space in listed.spaces:
        await _register(services, space, services.workers.site, "space.create")
    for recipient in listed.recipients:
        keeper = services.workers.space(recipient.space)
        await _register(services, recipient, keeper, "recipient.register")


async def _register(
    services: Services, record: Space | Recipient, keeper: RowKeeper, action: str
) -> None:
    if services.store.row_version(row_key(record)):
        return
    (sealed,) = await keeper.seal_rows([make_row(record, 1)])
    resource = f"spaces/{record.space}"
    details: dict[str, str] = {}
    if isinstance(record, Recipient):
        resource += f"/recipients/{record.recipient}"
        details = {"kind": record.kind.value, "name": record.name}
    else:
        details = {"release_class": record.release_class.value, "token": record.token}
    leaf = Call(SERVICE, action, "").leaf(
        record.space,
        resource,
        Phase.EVENT,
        Outcome.SUCCEEDED,
        rows={sealed.row.key: sealed.row.version},
        details=details,
    )
    await services.store.commit(Unit((PutRow(sealed),), (leaf,)))


def _read(path: Path) -> Registrations:
    try:
        return decode_record(path.read_bytes(), Registrations)
    except (OSError, InvalidInput) as error:
        raise ConfigurationError(
            f"the site's registrations cannot be read: {path}", hint="initialise the site first"
        ) from error
