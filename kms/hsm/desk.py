"""From a command to its answer: one desk per token, for a space or for the site.

Every failure becomes Failed with a code of kms.errors. Whatever the token refuses has one text,
so that answers are no oracle. A desk that cannot go on says so in ``exit_code``.
"""

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from pkcs11.exceptions import PKCS11Error

from kms.clock import SteadyClock
from kms.errors import ConclaveError, HsmUnavailable, InvalidInput, PinError, ProfileError
from kms.hsm.certify import Certifier
from kms.hsm.checkpoints import Checkpoints
from kms.hsm.disk_erasure import DiskEraser
from kms.hsm.disk_messages import (
    AdvanceDisk,
    CertifyErasure,
    DiskCommand,
    DiskReleased,
    DropKeks,
    ReleaseDisk,
)
from kms.hsm.diskkeys import DiskKeeper
from kms.hsm.faults import Action, TokenFault
from kms.hsm.guard import Guard
from kms.hsm.keyring import Keyring, SiteKeyring, SpaceKeyring
from kms.hsm.messages import (
    Answer,
    Certified,
    Certify,
    CheckpointSigned,
    CheckRows,
    Command,
    Describe,
    Described,
    Done,
    Failed,
    LastCheckpoint,
    Mint,
    MintDone,
    ReportSigned,
    Reseal,
    ResealDone,
    RetireVault,
    RowsSealed,
    SealApproved,
    SealRows,
    SignCheckpoint,
    SignReport,
    TreeHead,
)
from kms.hsm.mint import Minter
from kms.hsm.reports import Reporter
from kms.hsm.reseal import Resealer
from kms.hsm.retire import VaultRetirer
from kms.hsm.rows import RowSealer
from kms.hsm.token import Token
from kms.ports import Clock

EXIT_TOKEN_LOST = 69
"""The token or its module is gone: another process may find it again (EX_UNAVAILABLE)."""
EXIT_CONFIGURATION = 78
"""Configuration, profile, PIN or the token's contents are wrong: no restart helps (EX_CONFIG)."""

_REFUSED = "the token refused the operation"
_LOG = logging.getLogger(__name__)
_Keys = TypeVar("_Keys", bound=Keyring)


class Desk(Generic[_Keys]):
    """Answers what every token answers. ``exit_code`` is set when the process has to end."""

    def __init__(
        self,
        token: Token,
        site: str,
        space: str,
        keyring: Callable[[Token], _Keys],
        clock: Clock | None,
    ) -> None:
        self.exit_code: int | None = None
        self._token = token
        self._space = space
        self._rows = RowSealer(space)
        self._clock = clock or SteadyClock()
        self._guard = Guard(site, self._rows, self._clock.now)
        self._keyring = keyring
        self._keys: _Keys | None = None

    def keys(self) -> _Keys:
        """Return the keyring of the open session; logs in again after the session was dropped.

        Raise PinError, ProfileError, TokenFault, NotFound, IntegrityFailure.
        """
        if self._keys is None or self._keys.session is not self._token.session:
            self._keys = self._keyring(self._token)
        return self._keys

    def answer(self, command: Command) -> Answer:
        """Return the answer; never raises."""
        try:
            return self._perform(command)
        except PKCS11Error as error:
            return self._fault(self._token.failed(error))
        except (TokenFault, PinError, ProfileError) as fault:
            return self._fault(fault)
        except ConclaveError as error:
            if isinstance(command, SealRows | SealApproved):
                _LOG.warning("rows are not sealed: %s: %s", error.code, error.message)
            return Failed(error.code, error.message, error.hint)
        except Exception:  # noqa: BLE001 -- no request may end the worker
            _LOG.exception("a request met an error of the program")
            self._token.drop()
            return Failed(ConclaveError.code, "the worker failed")

    def _perform(self, command: Command) -> Answer:
        if isinstance(command, CheckRows):
            self._rows.check(self.keys(), command.rows)
            return Done()
        if isinstance(command, SealRows):
            return RowsSealed(self._rows.seal(self.keys(), command.rows))
        if isinstance(command, SealApproved):
            return RowsSealed(self._guard.seal(self.keys(), command.approved))
        if isinstance(command, Describe):
            return Described(self._token.describe(self._space))
        raise InvalidInput("this token does not do that")

    def _fault(self, fault: ConclaveError) -> Failed:
        _LOG.warning("%s", fault.message)
        if isinstance(fault, PinError | ProfileError):
            self.exit_code = EXIT_CONFIGURATION
        elif isinstance(fault, TokenFault) and fault.action is Action.FATAL:
            self.exit_code = EXIT_TOKEN_LOST
        return Failed(HsmUnavailable.code, _REFUSED)


class SpaceDesk(Desk[SpaceKeyring]):
    """Adds minting, resealing, the end of vault keys, certificates of destruction, and disks.

    ``appliance``: whom disk keys are released to; None: to nobody.
    """

    def __init__(
        self,
        token: Token,
        space: str,
        site: str,
        clock: Clock | None = None,
        appliance: X25519PublicKey | None = None,
    ) -> None:
        super().__init__(token, site, space, SpaceKeyring, clock)
        self._minter = Minter(site, space, token.profile.wrap_alg, self._clock.now)
        self._resealer = Resealer(token, site, space)
        self._certifier = Certifier(site, space)
        self._retirer = VaultRetirer(token, site)
        self._disks = DiskKeeper(token, site, appliance, self._clock.now)
        self._eraser = DiskEraser(token, site)

    def _perform(self, command: Command) -> Answer:
        if isinstance(command, Mint):
            return MintDone(self._minter.mint(self.keys(), command.order))
        if isinstance(command, Certify):
            return Certified(self._certifier.certify(self.keys(), command.order))
        if isinstance(command, Reseal):
            return ResealDone(self._resealer.reseal(self.keys(), command.items, command.now))
        if isinstance(command, RetireVault):
            self._retirer.retire(self.keys(), command.order)
            return Done()
        if isinstance(command, DiskCommand):
            return self._perform_disk(command)
        return super()._perform(command)

    def _perform_disk(self, command: DiskCommand) -> Answer:
        if isinstance(command, ReleaseDisk):
            return DiskReleased(self._disks.release(self.keys(), command.disk, command.nonce))
        if isinstance(command, CertifyErasure):
            return Certified(self._eraser.certify(self.keys(), command.order))
        if isinstance(command, AdvanceDisk):
            step, now = command.step, command.now
            return RowsSealed((self._disks.advance(self.keys(), command.disk, step, now),))
        if isinstance(command, DropKeks):
            self._disks.drop_keks(self.keys(), command.disk)
        else:
            self._eraser.erase(self.keys(), command.order)
        return Done()


class SiteDesk(Desk[SiteKeyring]):
    """Adds checkpoints, and statements about reports."""

    def __init__(self, token: Token, site: str, clock: Clock | None = None) -> None:
        super().__init__(token, site, "", SiteKeyring, clock)
        self._checkpoints = Checkpoints(token, site)
        self._reporter = Reporter(site, self._checkpoints, self._clock.now)

    def _perform(self, command: Command) -> Answer:
        if isinstance(command, SignCheckpoint):
            note = self._checkpoints.sign(self.keys(), command.size, command.root, command.proof)
            return CheckpointSigned(note)
        if isinstance(command, LastCheckpoint):
            return TreeHead(*self._checkpoints.last())
        if isinstance(command, SignReport):
            return ReportSigned(self._reporter.sign(self.keys(), command.order))
        return super()._perform(command)
