"""The tables of the HSM, of the times of keys, and of the encrypted disks."""

from pathlib import Path
from typing import Annotated

import msgspec

from kms.settings.values import Positive, Seconds
from kms.strict import Section


class Token(Section, frozen=True):
    """A token of the HSM. Exactly one is the site's own."""

    label: str
    """The token's label, which also names it in the PIN document."""
    space: str = ""
    """The space whose keys it keeps; empty for the site's own token."""


class Hsm(Section, frozen=True):
    """The HSM behind the service."""

    profile: Path
    """The HSM's profile, a file of hsm_profiles/."""
    tokens: tuple[Token, ...]
    """The tokens, a worker process each."""
    deadline_seconds: Seconds = 10.0
    """How long one request to a worker may take; a worker that takes longer is killed."""
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    """Environment variables that the PKCS#11 module wants; set for the workers alone."""


class Rotation(Section, frozen=True):
    """The times of epochs."""

    publish_ahead_seconds: Annotated[int, msgspec.Meta(ge=1, le=60)] = 2
    """How long before its start an epoch can be fetched, after a join or a rotation by hand."""
    epoch_seconds: Annotated[int, msgspec.Meta(ge=60)] = 86_400
    """An epoch's maximum age, the manifest's exp: clients stop using it then."""
    interval_seconds: Annotated[int, msgspec.Meta(ge=0)] = 3600
    """How long after an epoch's start the next one is made, where a space's policy says nothing
    else; 0: only its maximum age ends it."""
    retention_seconds: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How long after a meeting's end its keys are kept at least, where a space's policy says
    nothing else."""
    vault_seconds: Annotated[int, msgspec.Meta(ge=0)] = 31_536_000
    """The cryptoperiod of vault keys, where a space's policy says nothing else: so long after one
    was made, a ceremony is due that makes the next; 0: never."""
    catch_up_per_second: Positive = 20
    """How many epochs a second are made at most after a standstill, or when many are due."""
    reseal_per_second: Positive = 200
    """How many epochs a second are wrapped to a new vault key at most, beside other work."""


class Disks(Section, frozen=True):
    """The encrypted disks of the appliance."""

    appliance_key: str = ""
    """The appliance daemon's public key (conclave-appliance key): disk keys are sealed to it, and
    without it none leaves the HSM. Only who may write this file can name another."""
    recovery_test_seconds: Annotated[int, msgspec.Meta(ge=0)] = 7_776_000
    """How often each disk gets a new recovery key that is tested and put under escrow; 0: only when
    people ask."""
    slot_key_seconds: Annotated[int, msgspec.Meta(ge=0)] = 31_536_000
    """The cryptoperiod of slot keys and KEKs; 0: replaced only when people ask."""
