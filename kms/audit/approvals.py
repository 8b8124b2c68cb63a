"""What the log says was approved, held against the requests and registers in the bundle.

Signatures, quorum by person and parameters are checked again as the HSM worker did. A request is
carried out once. A register counts if a leaf names its digest: the log itself is signed.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime

from kms.audit.bundle import Bundle
from kms.audit.checks import Broken, Check
from kms.audit.leaf import Leaf
from kms.audit.life_words import ByRequest
from kms.domain.approvals import Request
from kms.domain.people import Register
from kms.errors import ConclaveError
from kms.statements import jws
from kms.statements.canonical import decode_record, digest
from kms.statements.destruction import check_certifies, verify_certificate
from kms.statements.keylist import KeyList
from kms.statements.register import TYP as REGISTER
from kms.statements.request import CheckedRequest, check_quorum, peek_request, verify_request

_SLACK_SECONDS = 60
"""The worker's clock and the log's may differ by as much."""


class Approvals:
    """The requests of a bundle, each looked at when the log tells that it was carried out."""

    def __init__(self, bundle: Bundle, keys: KeyList) -> None:
        self._bundle = bundle
        self._keys = keys
        self._in_force = ""
        self._registers: dict[str, Register] = {}
        self._used: set[str] = set()

    @property
    def seen(self) -> int:
        """How many requests the log has carried out."""
        return len(self._used)

    def change_register(self, sha256: str) -> None:
        """Take in that a register was issued."""
        self._in_force = sha256

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
        register = self._register()
        try:
            checked = verify_request(record, self._keys.iss, register, self._in_force)
            at = int(datetime.fromisoformat(leaf.time).timestamp())
            check_quorum(checked, register, min(at, checked.wanted.expires - 1))
        except ConclaveError as error:
            raise _broken("请求或批准不成立", error.message) from error
        wanted = checked.wanted
        if at >= wanted.expires + _SLACK_SECONDS or at < wanted.issued - _SLACK_SECONDS:
            raise _broken("请求在有效期之外执行", "carried out outside the request's time")
        if (wanted.operation, wanted.space) != (leaf.action, leaf.space):
            raise _broken("批准的是另一操作", "another operation was approved")
        if wanted.digest() != told.digest:
            raise _broken("请求与日志条目所记摘要不符", "the request is not the one told of")
        return checked

    def check_certificate(
        self, request: str, sha256: str, meeting: str, epochs: AbstractSet[int]
    ) -> None:
        """Raise Broken unless the certificate of a destruction is in the bundle, the one told of,
        signed by a manifest key of its space, and names exactly these epochs with their manifests.
        """
        raw, found = self._bundle.certificate(request), self._bundle.request(request)
        if raw is None or found is None or digest(raw) != sha256:
            raise _uncertified("证据包缺少销毁证书", "a certificate is missing")
        try:
            certificate = verify_certificate(raw.decode("utf-8", "replace"), self._keys)
            check_certifies(certificate, peek_request(found[1]))
        except ConclaveError as error:
            raise _uncertified("销毁证书的签名或内容不成立", error.message) from error
        named = {key.epoch: key.manifest for key in certificate.keys}
        manifests = (self._bundle.manifest(found[0], meeting, epoch) for epoch in sorted(epochs))
        expected = [digest(one) if one is not None else "" for one in manifests]
        if certificate.meeting != meeting or named != dict(
            zip(sorted(epochs), expected, strict=True)
        ):
            raise _uncertified("销毁证书所列密钥有误", "the certificate names other keys")

    def _register(self) -> Register:
        register = self._registers.get(self._in_force)
        if register is None:
            raw = self._bundle.register(self._in_force)
            if raw is None or digest(raw) != self._in_force:
                raise _broken("证据包缺少当时的人员登记册", "the register in force is missing")
            try:
                payload = jws.unverified_payload(raw.decode("utf-8", "replace"), typ=REGISTER)
                register = decode_record(payload, Register)
            except ConclaveError as error:
                raise _broken("人员登记册无法读取", error.message) from error
            self._registers[self._in_force] = register
        return register


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
