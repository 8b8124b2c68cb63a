"""One ceremony from the call to the signed transcript: gathers approvals, holds it, logs it.

Whatever interrupts it, opening it again goes on: the folder tells how far it is. Every run that
acts writes an intent of its own to the log, and what came of it; a run that died is told of as
interrupted, like any operation.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from kms.audit.leaf import Outcome
from kms.ceremonies import engine
from kms.ceremonies.ceremony import Ceremony
from kms.ceremonies.people.admission import Approvals, Call, admit, check_admission, gather
from kms.ceremonies.people.signatures import check_signatures, seal
from kms.ceremonies.people.signing import sign_into
from kms.ceremonies.record.chain import check_alone, check_kept, newest_transcript
from kms.ceremonies.record.entries import Deviation, Recorded
from kms.ceremonies.record.folder import CEREMONIES, Folder
from kms.ceremonies.record.journal import Journal
from kms.ceremonies.record.replay import replay
from kms.ceremonies.record.request import make_request, register_digest
from kms.ceremonies.record.transcript import (
    Result,
    Transcript,
    decode_transcript,
    encode_transcript,
)
from kms.ceremonies.room import Brief, Room
from kms.errors import (
    AlreadyExists,
    ConclaveError,
    IntegrityFailure,
    QuorumNotMet,
    StateNotAllowed,
    VerificationFailed,
)
from kms.statements.canonical import digest, unb64u

__all__ = ["Approvals", "Sitting", "sign_into"]


class Sitting:
    """A ceremony that was called. ``request`` is what its people approve."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._folder = call.folder
        self.request = call.request

    @classmethod
    def open(cls, root: Path, ceremony: Ceremony, brief: Brief, now: int) -> "Sitting":
        """Make or find the ceremony's folder in the state directory ``root``; raise AlreadyExists
        if another plan has its id, StateNotAllowed if it was called under another register,
        InvalidInput if a new one has expired.
        """
        path = root / CEREMONIES / brief.plan.file.id
        if not path.exists():
            Journal.create(path, brief.plan.raw, make_request(brief, now))
        folder = Folder(path)
        if folder.plan().raw != brief.plan.raw:
            raise AlreadyExists(f"another plan has the id {path.name}", hint="choose another id")
        request = folder.request()
        if request.register != register_digest(brief.register_token):
            raise StateNotAllowed(
                "the register of people changed since this ceremony was called",
                hint="make a plan with another id",
            )
        return cls(Call(folder, ceremony, brief, request))

    @property
    def folder(self) -> Path:
        """The ceremony's folder, where people sign."""
        return self._folder.path

    @property
    def sha256(self) -> bytes:
        """The request's digest, which people compare before they approve."""
        return unb64u(self.request.digest())

    def approvals(self, now: int) -> Approvals:
        """Return the approvals handed in so far."""
        return gather(self._call, now)

    def hold(self, room: Room) -> bytes:
        """Do the ceremony, or what is left of it, and log it; return the transcript's payload.

        Raise QuorumNotMet if too few have approved or the request expired, StateNotAllowed while
        another ceremony is under way, and whatever the script raises. Once the outcome is logged
        nothing is repeated.
        """
        check_alone(self.folder)
        check_kept(self.folder.parent, room.records.last_transcript())
        self._check_once(room)
        journal = Journal.open(self.folder)
        if journal.progress.aborted:
            raise StateNotAllowed("the ceremony was given up", hint="make a plan with another id")
        if self._folder.payload() is None:
            admit(self._call, room, journal)
        return self._conclude(room, journal, Result.SUCCEEDED)

    def abort(self, room: Room) -> bytes:
        """Undo what was done, and log that; return the transcript's payload. Raise
        StateNotAllowed if nothing was begun, or too much.
        """
        self._check_once(room)
        journal = Journal.open(self.folder)
        if journal.progress.started is None:
            raise StateNotAllowed("nothing was done yet: there is nothing to undo")
        if self._folder.payload() is not None and not journal.progress.aborted:
            raise StateNotAllowed("the ceremony is over: it cannot be undone")
        return self._conclude(room, journal, Result.ABORTED)

    def missing_signatures(self) -> tuple[str, ...]:
        """Return who has yet to sign the transcript; raise StateNotAllowed before there is one,
        VerificationFailed naming whose signature does not hold.
        """
        payload = self._payload()
        signed = self._signatures(payload)
        return tuple(name for name in decode_transcript(payload).approvals if name not in signed)

    def finish(self) -> Path:
        """Write the signed transcript; raise QuorumNotMet as long as a signature is missing."""
        lacking = self.missing_signatures()
        if lacking:
            raise QuorumNotMet(f"the transcript is not signed yet by {', '.join(lacking)}")
        payload = self._payload()
        return self._folder.finish(seal(payload, self._signatures(payload)))

    def _conclude(self, room: Room, journal: Journal, result: Result) -> bytes:
        if journal.progress.recorded:
            return self._payload()
        named = {"ceremony": self.request.ceremony, "kind": self.request.kind}
        intent = room.records.intent({**named, "request": self.request.digest()})
        try:
            payload = self._frozen(journal, result) or self._act(room, journal, result)
        except BaseException as error:
            code = error.code if isinstance(error, ConclaveError) else ConclaveError.code
            # The first error is what people have to hear of.
            with suppress(ConclaveError):
                room.records.result(intent, Outcome.FAILED, {**named, "code": code})
            raise
        self._record(room, journal, intent, {**named, "transcript": digest(payload)}, result)
        return payload

    def _record(
        self,
        room: Room,
        journal: Journal,
        intent: int,
        details: dict[str, Any],
        result: Result,
    ) -> None:
        succeeded = result is Result.SUCCEEDED
        outcome = Outcome.SUCCEEDED if succeeded else Outcome.FAILED
        room.records.result(intent, outcome, details)
        # A site whose first ceremony was given up has no token to sign with.
        if succeeded:
            room.records.sign_head()
        journal.append(Recorded(time=room.now(), transcript=details["transcript"]))

    def _act(self, room: Room, journal: Journal, result: Result) -> bytes:
        script = self._call.ceremony.script(self._call.brief)
        if result is Result.ABORTED:
            engine.abort(script, room, journal)
        else:
            if not journal.progress.attempts:
                self._call.ceremony.precheck(room)
            engine.run(script, room, journal)
        # Read anew: other programs may have added to the exception sheet.
        told = self._transcript(Journal.open(self.folder), result)
        payload = encode_transcript(told)
        self._folder.freeze(payload)
        return payload

    def _frozen(self, journal: Journal, result: Result) -> bytes | None:
        """Return the payload that an earlier run wrote before it died; raise VerificationFailed for
        one that does not tell what request, approvals, journal and script do.
        """
        payload, started = self._folder.payload(), journal.progress.started
        if payload is None:
            return None
        told = decode_transcript(payload)
        count = len(told.entries)
        entries, more = journal.entries()[:count], journal.entries()[count:]
        same = {"sequence": told.sequence, "previous": told.previous, "ended": told.ended}
        ours = msgspec.structs.replace(self._transcript(journal, result), entries=entries, **same)
        later = all(isinstance(one, Deviation) for one in more)
        if started is None or told != ours or not later:
            raise VerificationFailed("the transcript in the folder is not this ceremony's")
        replay(told, self._call.ceremony.script(self._call.brief))
        register, needs = self._call.brief.register, self._call.ceremony.needs
        check_admission(register, self.request, told.approvals, needs, started.time)
        return payload

    def _transcript(self, journal: Journal, result: Result) -> Transcript:
        started = journal.progress.started
        if started is None:
            raise StateNotAllowed("nothing was done yet: there is nothing to tell of")
        plan, last = self._call.brief.plan, newest_transcript(self.folder.parent)
        return Transcript(
            site=plan.file.site,
            sequence=last.sequence + 1,
            previous=last.sha256,
            ceremony=plan.file.id,
            kind=plan.file.ceremony,
            plan=plan.raw.decode(),
            plan_sha256=plan.digest,
            binding=self._call.brief.site,
            register=self._call.brief.register_token,
            founded=None if self._call.brief.register_token else self._call.brief.register,
            request=self.request,
            approvals=started.approvals,
            entries=journal.entries(),
            result=result,
            begun=started.time,
            ended=journal.progress.time,
        )

    def _check_once(self, room: Room) -> None:
        """Refuse a folder that was put back: its approvals would count a second time."""
        ended, payload = room.records.ended(), self._folder.payload()
        if ended and (payload is None or digest(payload) != ended):
            raise IntegrityFailure(
                "the log tells of this ceremony's end, and its folder does not",
                hint="an id is used once: make a plan with another id",
            )

    def _payload(self) -> bytes:
        payload = self._folder.payload()
        if payload is None:
            raise StateNotAllowed("the ceremony is not over: there is no transcript to sign")
        return payload

    def _signatures(self, payload: bytes) -> dict[str, tuple[str, bytes]]:
        signatures = self._folder.signatures()
        check_signatures(payload, self._call.brief.register, signatures)
        return signatures
