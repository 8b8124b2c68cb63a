"""Keeps what is known of people and passkeys up with the log, so that no page waits for leaves that
busy meetings wrote since somebody last looked.
"""

import asyncio

from kms.usecases.services import Services

_SECONDS = 1.0


async def follow_people(services: Services) -> None:
    """Read on in the log for ever."""
    while True:
        await services.registers.catch_up(services.store)
        await services.passkeys.catch_up(services.store)
        await asyncio.sleep(_SECONDS)
