"""What every part of the typed client has: the way to the service."""

from typing import TypeVar

from pydantic import BaseModel

from kms.client.transport import Transport

_P = TypeVar("_P", bound=BaseModel)


class Calls:
    """Calls over one transport."""

    def __init__(self, transport: Transport) -> None:
        self._to = transport

    def _meeting(self, operation: str, kind: type[_P], space: str, meeting: str) -> _P:
        return self._to.ask(operation, space=space, meeting=meeting).read(kind)


def epoch_path(epoch: int | None) -> str:
    """Return how a path names an epoch; None is the present one."""
    return "current" if epoch is None else str(epoch)
