"""The offline verifier: a bundle and pinned keys in, a report out. No HSM, store or network.

Unknown things fail. What could not be checked is never reported as passed.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.approvals import Approvals
from kms.audit.bundle import Bundle
from kms.audit.checks import Broken, Check, Said, Tally
from kms.audit.disks import Disks
from kms.audit.erasures import Erasures
from kms.audit.history import History
from kms.audit.leaf import Leaf, Outcome, Phase, decode_exact_leaf
from kms.audit.merkle import CompactRange, leaf_hash
from kms.audit.proofs import Heads, Manifests, read_key_list
from kms.audit.report import Report
from kms.audit.words import check_words
from kms.errors import ConclaveError, InvalidInput

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_PROGRESS = 20_000

Progress = Callable[[int, int], None]
"""Hears (leaves verified, leaves in all)."""


def verify_bundle(
    path: Path,
    root_key: ec.EllipticCurvePublicKey,
    earlier: Sequence[str] = (),
    progress: Progress | None = None,
) -> Report:
    """Verify a bundle against the pinned site root and checkpoints (notes) kept from before.

    Never raises for what is wrong with the evidence: the report says it, and
    ``Report.raise_if_failed`` raises.
    """
    run = _Run(progress or (lambda _done, _all: None))
    try:
        with Bundle(path) as bundle:
            run.verify(bundle, root_key, earlier)
    except ConclaveError as error:
        said = "证据包无法读取、已损坏或结构不符"
        run.tally.fail(Broken(Check.FORM, said, error.message))
        run.tally.stop()
    return run.report()


class _Run:
    def __init__(self, progress: Progress) -> None:
        self.tally = Tally()
        self._progress = progress
        self._tree = CompactRange()
        self._site = ""
        self._protected = 0

    def verify(
        self, bundle: Bundle, root_key: ec.EllipticCurvePublicKey, earlier: Sequence[str]
    ) -> None:
        bundle.check_schema()
        self.tally.count(Check.FORM)
        keys = read_key_list(bundle, root_key, self.tally)
        self._site = keys.iss
        heads = Heads(keys, self.tally)
        heads.expect_stored(bundle)
        heads.expect_earlier(earlier)
        manifests = Manifests(bundle, keys)
        approvals = Approvals(bundle, keys, root_key)
        disks = Disks(approvals, Erasures(bundle, keys), self.tally)
        history = History(manifests, approvals, disks, self.tally)
        self._read_log(bundle, heads, _Log(history, self.tally))
        heads.end(len(self._tree))
        self._check_tail(heads.newest)
        if manifests.seen != bundle.manifest_count():
            self.tally.fail(
                Broken(Check.MANIFESTS, "有清单不见于日志", "manifests that no leaf speaks of")
            )
        if manifests.addenda != bundle.addendum_count():
            self.tally.fail(
                Broken(Check.MANIFESTS, "有补充清单不见于日志", "addenda that no leaf speaks of")
            )

        if approvals.seen != bundle.request_count():
            self.tally.fail(
                Broken(Check.APPROVALS, "有请求不见于日志", "requests that no leaf carried out")
            )

    def report(self) -> Report:
        return Report(
            site=self._site,
            leaves=len(self._tree),
            protected=self._protected,
            root=self._tree.root().hex(),
            results=self.tally.results(),
        )

    def _read_log(self, bundle: Bundle, heads: Heads, log: "_Log") -> None:
        total = bundle.leaf_count()
        tree = self._tree
        heads.meet(tree)
        for seq, body in bundle.leaves():
            tree.append(leaf_hash(body))
            heads.meet(tree)
            log.read(seq, body)
            if len(tree) % _PROGRESS == 0:
                self._progress(len(tree), total)
        log.end()
        self._progress(len(tree), total)

    def _check_tail(self, newest: int) -> None:
        self._protected = min(newest, len(self._tree))
        tail = len(self._tree) - self._protected
        self.tally.count(Check.TAIL, tail)
        if tail:
            said = Said(
                f"最后 {tail} 个日志条目尚无检查点保护",
                f"the last {tail} leaves have no checkpoint yet",
            )
            self.tally.finding(Check.TAIL, said)


class _Log:
    """Reads leaf after leaf; a leaf that cannot be read is tallied and passed over."""

    def __init__(self, history: History, tally: Tally) -> None:
        self._tally = tally
        self._count = 0
        self._expected = 0
        self._time = ""
        self._intents: dict[int, Leaf] = {}
        self._history = history
        self._steps = (self._check_time, self._pair, history.count_rows, history.apply)

    def read(self, seq: int, body: bytes) -> None:
        self._count += 1
        try:
            leaf = self._decode(seq, body)
            check_words(leaf)
            _check_clock(leaf.time)
        except Broken as broken:
            self._tally.fail(broken, seq)
            return
        for step in self._steps:
            try:
                step(leaf)
            except Broken as broken:
                self._tally.fail(broken, seq)

    def end(self) -> None:
        for check in (Check.LEAVES, Check.ACTIONS, Check.TIMES):
            self._tally.count(check, self._count)
        self._history.end()
        for seq in self._intents:
            said = Said("操作意图没有结果", "an intent without a result")
            self._tally.finding(Check.PAIRS, said, seq)

    def _decode(self, seq: int, body: bytes) -> Leaf:
        place, self._expected = self._expected, seq + 1
        try:
            leaf = decode_exact_leaf(body)
        except InvalidInput as error:
            raise Broken(Check.LEAVES, "日志条目格式不规范", error.message) from error
        if (leaf.v, leaf.seq, seq) != (1, seq, place):
            said = f"应为第 {place} 个日志条目，实为第 {leaf.seq} 个"
            raise Broken(Check.LEAVES, said, f"leaf {place} was due, this is {leaf.seq}")
        return leaf

    def _check_time(self, leaf: Leaf) -> None:
        last, self._time = self._time, max(self._time, leaf.time)
        if leaf.time < last:
            raise Broken(Check.TIMES, "时间倒退", "time goes back")

    def _pair(self, leaf: Leaf) -> None:
        if leaf.phase is Phase.INTENT:
            self._tally.count(Check.PAIRS)
            self._intents[leaf.seq] = leaf
        if leaf.intent is None:
            return
        intent = self._intents.pop(leaf.intent, None)
        if intent is None:
            raise Broken(
                Check.PAIRS, "结果没有意图，或结果重复", "no open intent, or a second result"
            )
        if _subject(intent) != _subject(leaf):
            raise Broken(
                Check.PAIRS, "结果与意图不是同一操作", "the result is of another operation"
            )
        if leaf.outcome is Outcome.INTERRUPTED:
            said = Said("操作因服务中断而未完成", "the service died during the operation")
            self._tally.finding(Check.PAIRS, said, leaf.seq)


def _subject(leaf: Leaf) -> tuple[str, ...]:
    return (leaf.action, leaf.actor, leaf.auth, leaf.space, leaf.resource, leaf.request)


def _check_clock(time: str) -> None:
    try:
        datetime.fromisoformat(time)
    except ValueError as error:
        raise Broken(Check.TIMES, "时间格式有误", "not a time") from error
    if not _TIME.fullmatch(time):
        raise Broken(Check.TIMES, "时间格式有误", "not a time in UTC with microseconds")
