"""What the log says was approved, held against the requests and registers in the bundle.

Signatures, quorum by person and parameters are checked again as the HSM worker did. A request is
carried out once, by as many as the space's policy, or the default, demands. The pinned site root
signed the register; one of a root before a ``site.restore`` cannot be checked, which is told.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.bundle import Bundle
from kms.audit.checks import Broken, Check, Said, Tally
from kms.audit.leaf import Leaf, seconds
from kms.audit.life_words import ByRequest, Certified
from kms.audit.passkeys import Passkeys
from kms.audit.words import Issued, Restored, details
from kms.domain.approvals import Request, Sharing, side_needs
from kms.domain.people import Register
from kms.domain.policies import SpacePolicy  # noqa: TC001 -- with the other types of the domain
from kms.errors import ConclaveError, QuorumNotMet, VerificationFailed
from kms.statements import jws
from kms.statements.approval import TYP as APPROVAL
from kms.statements.canonical import decode_record, digest
from kms.statements.destruction import check_certifies, verify_certificate
from kms.statements.keylist import KeyList
from kms.statements.personal import peek_proof
from kms.statements.register import TYP as REGISTER
from kms.statements.register import verify_register
from kms.statements.request import TYP as REQUEST
from kms.statements.request import CheckedRequest, check_quorum, verify_request

SLACK_SECONDS = 60
"""Two clocks may differ by as much, and a call that was let in last as long."""
_OLD_ROOT = Said(
    "人员登记册由恢复之前的根密钥签名，无法用此根密钥核对",
    "the register is of a root from before a restore: not checked with this one",
)


@dataclass(frozen=True, slots=True)
class Destroyed:
    """An approved destruction: its leaf, which epochs had a key left, and by whose word."""

    leaf: Leaf
    meeting: str
    epochs: frozenset[int]
    checked: CheckedRequest


class Approvals:
    """The requests of a bundle, each looked at when the log tells that it was carried out.

    ``policies`` are those of the spaces that have one, as the log got to know them.
    """

    def __init__(self, bundle: Bundle, keys: KeyList, root: ec.EllipticCurvePublicKey) -> None:
        self._bundle = bundle
        self._keys = keys
        self._root, self._root_id = root, jws.spki_id(root)
        self._in_force = Issued("", 0, "")
        self._registers: dict[str, tuple[Register, bool]] = {}
        self._restored = -1
        self._unproven: list[int] = []
        self._used: set[str] = set()
        self.policies: dict[str, SpacePolicy] = {}
        self.passkeys = Passkeys(self.register)

    @property
    def site(self) -> str:
        """The site's id."""
        return self._keys.iss

    @property
    def seen(self) -> int:
        """How many requests the log has carried out."""
        return len(self._used)

    def apply(self, leaf: Leaf) -> None:
        """Take in that a register was issued, or the site restored; raise Broken."""
        if leaf.action == "site.restore" and details(leaf, Restored).site_root == self._root_id:
            self._restored = leaf.seq
        if leaf.action == "register.change":
            before, self._in_force = self._in_force, details(leaf, Issued)
            if self._in_force.version <= before.version:
                raise _broken("人员登记册的版本没有递增", "the register is no newer than the last")

    def end(self, tally: Tally) -> None:
        """Tell of what was approved under registers that the pinned root did not sign: a finding
        if the site got that root later.
        """
        for seq in self._unproven:
            if seq < self._restored:
                tally.finding(Check.APPROVALS, _OLD_ROOT, seq)
            else:
                zh, en = "人员登记册并非由站点根密钥签名", "not a register of the site root"
                tally.fail(_broken(zh, en), seq)

    def check(self, leaf: Leaf, told: ByRequest) -> CheckedRequest:
        """Return the request behind an approved action; raise Broken unless it permits it."""
        if told.request in self._used:
            raise _broken("同一请求被执行两次", "one request was carried out twice")
        self._used.add(told.request)
        found = self._bundle.request(told.request)
        if found is None:
            raise _broken("证据包缺少该请求", "the request is missing")
        space, token, approvals = found
        record = Request(space, told.request, token, tuple(approvals))
        register = self.register(leaf.seq)
        try:
            checked = verify_request(record, self._keys.iss, register, self._in_force.sha256)
            at = seconds(leaf.time)
            _check_quorum(checked, register, at)
        except ConclaveError as error:
            raise _broken("请求或批准不成立", error.message) from error
        self._check_needs(checked, register)
        self._check_passkeys(leaf, record)
        wanted = checked.wanted
        if at >= wanted.expires + SLACK_SECONDS or at < wanted.issued - SLACK_SECONDS:
            raise _broken("请求在有效期之外执行", "carried out outside the request's time")
        if (wanted.operation, wanted.space) != (leaf.action, leaf.space):
            raise _broken("批准的是另一操作", "another operation was approved")
        if wanted.digest() != told.digest:
            raise _broken("请求与日志条目所记摘要不符", "the request is not the one told of")
        return checked

    def _check_passkeys(self, leaf: Leaf, record: Request) -> None:
        """Raise Broken if a passkey that signed did not count when the request was carried out."""
        signed = [(record.request, REQUEST), *((one, APPROVAL) for one in record.approvals)]
        for token, typ in signed:
            if proof := peek_proof(token, typ):
                self.passkeys.check_signer(leaf, proof.assertion.credential, proof.admission)

    def check_certificate(self, leaf: Leaf, told: Certified, done: Destroyed) -> None:
        """Raise Broken unless the certificate of a destruction is in the bundle, the one told of,
        signed by a manifest key of its space, tells of people and times as the log does, and names
        exactly these epochs with their manifests.
        """
        raw, wanted = self._bundle.certificate(told.request), done.checked.wanted
        if raw is None or digest(raw) != told.certificate:
            raise _uncertified("证据包缺少销毁证书", "a certificate is missing")
        try:
            certificate = verify_certificate(raw.decode("utf-8", "replace"), self._keys)
            check_certifies(certificate, wanted)
        except ConclaveError as error:
            raise _uncertified("销毁证书的签名或内容不成立", error.message) from error
        people = (wanted.requester, tuple(sorted(done.checked.approvals)), done.leaf.actor)
        if (certificate.requester, certificate.supervisors, certificate.executor) != people:
            raise _uncertified("销毁证书所列人员有误", "the certificate names other people")
        at, issued = seconds(done.leaf.time), seconds(leaf.time)
        times = (
            at - 2 * SLACK_SECONDS,
            certificate.destroyed,
            certificate.issued,
            issued + SLACK_SECONDS,
        )
        if list(times) != sorted(times) or certificate.destroyed > at + SLACK_SECONDS:
            raise _uncertified("销毁证书所列时间有误", "the certificate tells of other times")
        named = {key.epoch: key.manifest for key in certificate.keys}
        manifests = {one: self._manifest(wanted.space, done.meeting, one) for one in done.epochs}
        if (certificate.meeting, named) != (done.meeting, manifests):
            raise _uncertified("销毁证书所列密钥有误", "the certificate names other keys")

    def _manifest(self, space: str, meeting: str, epoch: int) -> str:
        found = self._bundle.manifest(space, meeting, epoch)
        return digest(found) if found is not None else ""

    def _check_needs(self, checked: CheckedRequest, register: Register) -> None:
        """Raise Broken unless as many were asked as the policies, or the default, demand."""
        wanted, sides = checked.wanted, [(checked.wanted.space, "")]
        if isinstance(checked.parameters, Sharing):
            sides.append((checked.parameters.partner, checked.parameters.partner))
        needs = [
            need
            for space, side in sides
            for need in side_needs(wanted.operation, register, self.policies.get(space), side)
        ]
        if list(wanted.quorum) != needs:
            raise _broken("批准人数并非策略所要求", "not the quorum that the policy demands")

    def register(self, seq: int) -> Register:
        """Return the register in force for the leaf of that number; raise Broken."""
        known = self._registers.get(self._in_force.sha256)
        if known is None:
            known = self._registers[self._in_force.sha256] = self._read_register()
        register, proven = known
        if not proven:
            self._unproven.append(seq)
        return register

    def _read_register(self) -> tuple[Register, bool]:
        """Return the register in force, and whether the pinned root signed it; raise Broken."""
        raw = self._bundle.register(self._in_force.sha256)
        if raw is None or digest(raw) != self._in_force.sha256:
            raise _broken("证据包缺少当时的人员登记册", "the register in force is missing")
        token = raw.decode("utf-8", "replace")
        try:
            proven = jws.key_id(token, typ=REGISTER) == self._root_id
            if proven:
                register = verify_register(token, self._root)
            else:
                register = decode_record(jws.unverified_payload(token, typ=REGISTER), Register)
            if (register.site, register.version) != (self._keys.iss, self._in_force.version):
                raise VerificationFailed("the register is another one than its leaf says")
        except ConclaveError as error:
            raise _broken("人员登记册不成立", error.message) from error
        return register, proven


def _check_quorum(checked: CheckedRequest, register: Register, at: int) -> None:
    """Raise VerificationFailed, QuorumNotMet unless enough people counted when the call was let in:
    when its leaf was written, or at most SLACK_SECONDS before.
    """
    last = min(at, checked.wanted.expires - 1)
    try:
        check_quorum(checked, register, last)
    except (QuorumNotMet, VerificationFailed):
        check_quorum(checked, register, last - SLACK_SECONDS)


def request_row(space: str, request: str) -> str:
    """Return the row key of a request."""
    return f"request/{space}/{request}"


def expect(told: Iterable[object], approved: Iterable[object]) -> None:
    """Raise Broken unless the leaf tells of exactly what was approved."""
    if list(told) != list(approved):
        raise _broken("执行的参数与批准的不同", "what was done is not what was approved")


def _uncertified(zh: str, en: str) -> Broken:
    return Broken(Check.DESTRUCTION, zh, en)


def _broken(zh: str, en: str) -> Broken:
    return Broken(Check.APPROVALS, zh, en)
