"""What a bundle's signatures prove: its key list, its checkpoints, its epochs' manifests."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.bundle import Bundle
from kms.audit.checks import Broken, Check, Said, Tally
from kms.audit.merkle import CompactRange
from kms.audit.note import Checkpoint, verify_checkpoint
from kms.audit.words import Minted, Rewrapped
from kms.domain.models import RecipientKind, ReleaseClass
from kms.errors import ConclaveError, VerificationFailed
from kms.statements import jws
from kms.statements.addendum import KEEPERS, SILENT, verify_addendum
from kms.statements.addendum import TYP as ADDENDUM
from kms.statements.canonical import digest, unb64u
from kms.statements.keylist import KeyList, KeyUse, load_ec, verify_keylist
from kms.statements.manifest import TYP, Manifest, media_of, subject, verify_manifest

_NO_KEYS = KeyList("", 0, 0, ())
_WRAPS = frozenset({"RSA-OAEP-256", "RSA-OAEP"})
_READERS = {
    ReleaseClass.TRUSTED: frozenset({RecipientKind.SERVER, RecipientKind.RECORDER}),
    ReleaseClass.ROSTER: frozenset({RecipientKind.DEVICE}),
}


def read_key_list(bundle: Bundle, root: ec.EllipticCurvePublicKey, tally: Tally) -> KeyList:
    """Return the newest key list, or one without keys if any of them does not hold."""
    newest = _NO_KEYS
    try:
        for version, token in bundle.key_lists():
            newest = _next_list(newest, verify_keylist(_text(token), root), version)
            tally.count(Check.KEY_LIST)
        if bundle.meta()[b"site"] != newest.iss.encode() or not newest.version:
            raise VerificationFailed("no key list of this site")
    except ConclaveError as error:
        tally.fail(Broken(Check.KEY_LIST, "密钥清单的签名或内容不成立", error.message))
        return _NO_KEYS
    return newest


def _next_list(last: KeyList, found: KeyList, version: int) -> KeyList:
    if found.version != version or (last.version and found.iss != last.iss):
        raise VerificationFailed("a key list is not the one that its row says")
    return found


class Heads:
    """The checkpoints that the log has to pass through, and which of them it met."""

    def __init__(self, keys: KeyList, tally: Tally) -> None:
        self._origin = keys.iss
        self._keys = [
            load_ec(unb64u(entry.spki), entry.kid)
            for entry in keys.keys
            if entry.use is KeyUse.CHECKPOINT and not entry.space
        ]
        self._tally = tally
        self._awaited: dict[int, list[tuple[Check, bytes]]] = {}
        self.newest = 0

    def expect_stored(self, bundle: Bundle) -> None:
        """Take in the bundle's own checkpoints."""
        for size, note in bundle.checkpoints():
            self._tally.count(Check.SIGNATURES)
            try:
                checkpoint = self._verified(_text(note), size)
            except VerificationFailed as error:
                said = f"检查点 {size} 的签名或内容不成立"
                self._tally.fail(Broken(Check.SIGNATURES, said, f"checkpoint {size}: {error}"))
                continue
            self._expect(Check.TREE, checkpoint)
            self.newest = size
        if not self.newest:
            self._tally.fail(
                Broken(Check.TREE, "没有可信的检查点", "no checkpoint vouches for the log")
            )

    def expect_earlier(self, notes: Sequence[str]) -> None:
        """Take in the checkpoints that the auditor kept."""
        for note in notes:
            try:
                self._expect(Check.EARLIER, self._verified(note))
            except VerificationFailed as error:
                said = "早期检查点的签名或内容不成立"
                self._tally.fail(Broken(Check.EARLIER, said, f"earlier checkpoint: {error}"))
        if not notes:
            missing = Said(
                "未提供早期检查点，无法排除整体重写或截尾",
                "no earlier checkpoint was given: a rewrite by the signer cannot be ruled out",
            )
            self._tally.finding(Check.EARLIER, missing)

    def meet(self, tree: CompactRange) -> None:
        """Compare the tree with every checkpoint of its present size."""
        for check, root in self._awaited.pop(len(tree), ()):
            self._tally.count(check)
            if root != tree.root():
                self._tally.fail(
                    Broken(
                        check,
                        f"前 {len(tree)} 个日志条目与检查点不符：日志被改写",
                        f"the first {len(tree)} leaves differ from the checkpoint: rewritten",
                    )
                )

    def end(self, leaves: int) -> None:
        """Note every checkpoint that the log was too short to reach."""
        for size, entries in self._awaited.items():
            for check, _ in entries:
                self._tally.fail(
                    Broken(
                        check,
                        f"检查点含 {size} 个日志条目，日志只有 {leaves} 个：尾部被截去",
                        f"a checkpoint covers {size} leaves, the log has {leaves}: its tail is cut",
                    )
                )

    def _expect(self, check: Check, checkpoint: Checkpoint) -> None:
        self._awaited.setdefault(checkpoint.size, []).append((check, checkpoint.root))

    def _verified(self, note: str, size: int | None = None) -> Checkpoint:
        checkpoint = verify_checkpoint(note, origin=self._origin, keys=self._keys)
        if size not in {None, checkpoint.size}:
            raise VerificationFailed("its row tells another size")
        return checkpoint


class Manifests:
    """Checks each minted epoch's manifest against its leaf and the key list."""

    def __init__(self, bundle: Bundle, keys: KeyList) -> None:
        self._bundle = bundle
        self._list = keys
        self._keys: dict[tuple[str, str], ec.EllipticCurvePublicKey] = {}
        self._classes: dict[str, ReleaseClass] = {}
        self.seen = 0
        self.addenda = 0

    def check(self, space: str, meeting: str, told: Minted, *, shared: bool = False) -> Manifest:
        """Return the epoch's manifest; only that of a ``shared`` meeting may name a partner. Raise
        Broken.
        """
        raw = self._bundle.manifest(space, meeting, told.epoch)
        if raw is None:
            raise Broken(Check.MANIFESTS, "证据包缺少该密钥周期的清单", "its manifest is missing")
        self.seen += 1
        if digest(raw) != told.manifest:
            raise Broken(
                Check.MANIFESTS, "清单与日志条目所记摘要不符", "the manifest is another one"
            )
        token = _text(raw)
        try:
            found = verify_manifest(token, self._key(space, jws.key_id(token, typ=TYP)))
        except ConclaveError as error:
            said = "清单的签名或内容不成立"
            raise Broken(Check.MANIFESTS, said, error.message) from error
        self._check_subject(found, space, meeting, told)
        _check_recipients(found, told, shared=shared)
        return found

    def check_addendum(
        self, place: tuple[str, str, int], told: Rewrapped, kind: RecipientKind, sha256: str
    ) -> None:
        """Raise Broken unless the addendum of that digest names the keeper told of, beside this
        epoch's manifest.
        """
        raw, manifest = self._bundle.addendum(sha256), self._bundle.manifest(*place)
        if raw is None or manifest is None or digest(raw) != sha256:
            raise Broken(Check.MANIFESTS, "证据包缺少补充清单", "an addendum is missing")
        self.addenda += 1
        token = _text(raw)
        try:
            found = verify_addendum(token, self._key(place[0], jws.key_id(token, typ=ADDENDUM)))
        except ConclaveError as error:
            said = "补充清单的签名或内容不成立"
            raise Broken(Check.MANIFESTS, said, error.message) from error
        beside = (self._list.iss, subject(*place), digest(manifest))
        entry = found.recipient
        named = (entry.kind, entry.id, entry.version)
        if (found.iss, found.sub, found.manifest) != beside or named != (
            kind,
            told.recipient,
            told.version,
        ):
            raise Broken(
                Check.MANIFESTS, "补充清单与日志条目不符", "the addendum is not the one told of"
            )

    def _key(self, space: str, kid: str) -> ec.EllipticCurvePublicKey:
        key = self._keys.get((space, kid))
        if key is None:
            key = self._keys[space, kid] = self._list.key(kid, KeyUse.MANIFEST, space)
        return key

    def _check_subject(self, found: Manifest, space: str, meeting: str, told: Minted) -> None:
        expected = (self._list.iss, subject(space, meeting, told.epoch), told.roster_version)
        if (found.iss, found.sub, found.roster_version) != expected:
            raise Broken(
                Check.MANIFESTS, "清单属于别的密钥周期", "the manifest is of another epoch"
            )
        sound = found.media == media_of(told.epoch) and found.nbf < found.exp
        if not sound or found.wrap_alg not in _WRAPS:
            raise Broken(Check.MANIFESTS, "清单参数不合规定", "the manifest's parameters are wrong")
        if self._classes.setdefault(space, found.release_class) is not found.release_class:
            raise Broken(Check.MANIFESTS, "空间的发放类别变了", "the space's release class changed")


def _check_recipients(found: Manifest, told: Minted, *, shared: bool) -> None:
    names = [entry.id for entry in found.recipients]
    if sorted(names) != sorted(told.recipients) or len(set(names)) != len(names):
        raise Broken(
            Check.MANIFESTS, "清单的接收方与日志条目不符", "recipients differ from the leaf's"
        )
    kinds = [entry.kind for entry in found.recipients]
    if any(kinds.count(kind) != 1 for kind in KEEPERS):
        raise Broken(
            Check.MANIFESTS, "清单须含保管库和密钥托管各一个", "no single vault and escrow"
        )
    if kinds.count(RecipientKind.PARTNER) != shared:
        raise Broken(
            Check.MANIFESTS,
            "清单的合作方与会议共享情况不符",
            "a partner whom nobody approved, or one left out",
        )
    silent = [entry for entry in found.recipients if entry.kind in SILENT]
    if any(entry.sender != -1 for entry in silent):
        raise Broken(Check.MANIFESTS, "保管库或合作方不得发送", "a vault or partner that sends")
    others = [entry for entry in found.recipients if entry.kind not in SILENT]
    if any(entry.kind not in _READERS[found.release_class] for entry in others):
        raise Broken(Check.MANIFESTS, "接收方类别与发放类别不符", "a recipient of a wrong kind")
    senders = [entry.sender for entry in others]
    if senders != list(range(len(others))):
        raise Broken(Check.MANIFESTS, "清单的发送序号有误", "sender indexes are wrong")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
