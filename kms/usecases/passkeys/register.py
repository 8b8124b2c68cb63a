"""Every passkey and open invitation, as the log's own leaves tell them, and how such leaves are
written. No table keeps them.

That the log was checked when the service started says nothing of who wrote its newest leaves. So a
leaf counts if the offline verifier's own replay takes it: invitations and admissions are verified
under the register of people that was in force.
"""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kms.audit.leaf import (
    Leaf,
    LeafDraft,
    Outcome,
    Phase,
    decode_leaf,
    encode_leaf,
    seconds,
)
from kms.audit.passkeys import Passkeys as Replay
from kms.domain.passkeys import Passkey, Purpose
from kms.domain.people import Register
from kms.errors import ConclaveError, ConfigurationError, NotFound
from kms.ports import Store
from kms.statements.canonical import digest
from kms.statements.passkeys import Invitation, peek_invitation
from kms.usecases.approvals.registers import Registers

_LOG = logging.getLogger(__name__)
_PAGE = 500
_OURS = (b'{"action":"passkey.', b'{"action":"session.')
"""How the canonical form of a leaf about passkeys and sessions begins."""


@dataclass(frozen=True, slots=True)
class Open:
    """An invitation that nobody has used, and its JWS."""

    invitation: Invitation
    token: str


@dataclass(slots=True)
class Passkeys:
    """What the log tells, read on from where it was.

    ``known`` by credential, in the order of enrolment; ``invited`` by the SHA-256 of the code;
    ``counters`` are the last signature counters.
    """

    position: int = 0
    known: dict[str, Passkey] = field(default_factory=dict)
    invited: dict[str, Open] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    _replay: Replay = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._replay = Replay(_no_register)

    def believe(self, registers: Registers, store: Store, state: Path) -> None:
        """Verify from now on who invited and admitted, by these registers of people."""
        self._replay = self._replay.copy(lambda seq: registers.at(store, state, seq))

    def read(self, store: Store) -> "Passkeys":
        """Read the leaves that are new; return itself."""
        while self._page(store):
            pass
        return self

    async def catch_up(self, store: Store) -> None:
        """Read the leaves that are new; others have their turn between two pages."""
        more = True
        while more:
            more = self._page(store)
            await asyncio.sleep(0)

    def find(self, credential: str) -> Passkey:
        """Return a passkey, revoked or not; raise NotFound."""
        found = self.known.get(credential)
        if found is None:
            raise NotFound("there is no such passkey", hint="conclave passkey list names them")
        return found

    def of(self, person: str, purpose: Purpose) -> list[Passkey]:
        """Return a person's passkeys for one purpose that are not revoked."""
        return [
            one
            for one in self.known.values()
            if (one.person, one.purpose) == (person, purpose) and not one.revoked
        ]

    def was_invited(self, code_sha256: str) -> bool:
        """Whether an invitation with that code was ever taken in, used or not."""
        return self._replay.was_invited(code_sha256)

    def check_admitted(self, credential: str, admission: str) -> None:
        """Raise VerificationFailed unless an approval passkey was enrolled, and admitted by that
        very statement.
        """
        self._replay.check_admitted(credential, admission)

    def check_leaf(self, store: Store, draft: LeafDraft, time: str) -> None:
        """Raise VerificationFailed if the offline verifier would refuse the leaf after those that
        are there; ``time`` is now, as leaves spell it.
        """
        leaf = decode_leaf(encode_leaf(draft, store.tree_size(), time))
        self.read(store)
        trial = self._replay.copy()
        trial.check_actor(leaf)
        trial.apply(leaf)

    def _page(self, store: Store) -> bool:
        page = store.leaves(self.position, _PAGE)
        for data in page:
            if data.startswith(_OURS):
                self._take(decode_leaf(data))
        self.position += len(page)
        return bool(page)

    def _take(self, leaf: Leaf) -> None:
        try:
            self._replay.check_actor(leaf)
            self._replay.apply(leaf)
        except ConclaveError as error:
            about = {"leaf": leaf.seq, "why": error.message}
            _LOG.error("a leaf about passkeys does not count", extra=about)
            return
        if leaf.outcome is not Outcome.SUCCEEDED:
            return
        told = leaf.details
        credential = str(told.get("credential", ""))
        match leaf.action:
            case "passkey.invite":
                self._invite(str(told["statement"]))
            case "passkey.enroll":
                self._enroll(leaf, credential)
            case "passkey.admit" if credential in self.known:
                admitted = replace(self.known[credential], admission=str(told["statement"]))
                self.known[credential] = admitted
            case "passkey.revoke" if credential in self.known:
                revoked = replace(self.known[credential], revoked=seconds(leaf.time))
                self.known[credential] = revoked
        if credential and "counter" in told:
            self.counters[credential] = int(told["counter"])

    def _invite(self, token: str) -> None:
        invitation = peek_invitation(token)
        self.invited[invitation.code_sha256] = Open(invitation, token)

    def _enroll(self, leaf: Leaf, credential: str) -> None:
        told = leaf.details
        self.invited = {
            code: one
            for code, one in self.invited.items()
            if digest(one.token.encode()) != told["invitation"]
        }
        self.known[credential] = Passkey(
            credential=credential,
            person=str(told["person"]),
            purpose=Purpose(told["purpose"]),
            spki=str(told["spki"]),
            name=str(told["name"]),
            enrolled=seconds(leaf.time),
            leaf=leaf.seq,
            rp_id=str(told["rp_id"]),
        )


def _no_register(seq: int) -> Register:
    raise ConfigurationError(f"no register of people for leaf {seq}", hint="this is a defect")


def board_leaf(
    action: str,
    person: str,
    auth: str,
    details: dict[str, Any],
    outcome: Outcome = Outcome.SUCCEEDED,
) -> LeafDraft:
    """Return the leaf of what somebody did at the board, or was refused; ``auth`` as in a call."""
    place = f"people/{person}" if person else "board"
    return LeafDraft(
        action, person or "nobody", auth, "", place, Phase.EVENT, outcome, details=details
    )
