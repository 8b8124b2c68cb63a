"""Reports: figures are what a plain recount gives, names are masked, the paper is a lasting one."""

import json
import re
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from kms.audit.verify import verify_bundle
from kms.documents import report as report_module
from kms.domain.reports import Period
from kms.errors import IntegrityFailure, VerificationFailed
from kms.i18n import Language, speak
from kms.reports.catalogue import clauses, figures, meets, parts
from kms.reports.content import FORMAT, Content, decode, encode, judge, masked, work_out
from kms.reports.figures import opened
from kms.reports.masking import mask_name, shorten
from kms.reports.paper import Mark, pdf
from kms.reports.verification import Files, ReportCheck, verify
from kms.statements import jws
from kms.statements.canonical import b64u, digest
from kms.statements.keylist import verify_keylist
from kms.statements.report import ReportStatement, peek_report, sign_report
from kms.usecases.reports import exporting
from kms.usecases.reports.folder import FULL, MASKED, Kept, read_content
from tests.fixtures.evidence import Site
from tests.fixtures.reported import AUDITOR, PERIOD, REPORT, busy_site

MINTS = {"meeting.open", "roster.change", "epoch.rotate"}
SECRETS = (
    "ou-yang-nurse", "wang-security", "zhao-auditor", "Zhao-Auditor",
    "Li-Security", "server:meet-1", "01930000-0000-7000-8000-000000000001", "case 7788",
)  # fmt: skip


class Made:
    """A report of a busy site, made once for this module; nothing of it is changed."""

    def __init__(self, folder: Path) -> None:
        self.site = busy_site()
        self.bundle = self.site.write(folder / "evidence.db")
        self.audited = verify_bundle(self.bundle, self.site.root_key.public_key())
        found = work_out(self.bundle, PERIOD, lambda _count: None)
        self.content = Content(
            format=FORMAT, site=self.site.site, report=REPORT, maker=AUDITOR,
            since=PERIOD.since, until=PERIOD.until, made=PERIOD.until + 60, offset=480,
            size=self.audited.leaves, root=b64u(bytes.fromhex(self.audited.root)),
            bundle=digest(self.bundle.read_bytes()), masked=False, figures=found,
            clauses=judge(found),
        )  # fmt: skip

    @property
    def leaves(self) -> list[dict]:
        return [json.loads(leaf) for leaf in self.site.leaves()]

    def rows(self, name: str) -> list[list]:
        return self.content.figure(name).rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("report"))


def succeeded(made: Made, *actions: str) -> list[dict]:
    return [
        leaf for leaf in made.leaves
        if leaf["action"] in actions and leaf["outcome"] == "succeeded"
    ]  # fmt: skip


# --- figures -------------------------------------------------------------------------------------


def test_figures_are_what_a_plain_recount_gives(made: Made) -> None:
    minted = succeeded(made, *MINTS)
    assert made.rows("log.leaves") == [[len(made.leaves)]]
    assert dict(map(tuple, made.rows("epochs.made"))) == Counter(one["space"] for one in minted)
    reasons = Counter(one["details"]["reason"] for one in minted if one["action"] != "meeting.open")
    assert dict(map(tuple, made.rows("rotation.reasons"))) == reasons
    served = succeeded(made, "envelope.fetch", "envelope.relay")
    assert sum(row[2] for row in made.rows("envelopes.callers")) == len(served)
    assert made.rows("meetings.closed") == [[len(succeeded(made, "meeting.close"))]]
    assert made.rows("grants.in-force") == [[1]]
    assert [row[1] for row in made.rows("destruction.done")] == ["meeting.destroy"]
    assert made.rows("destruction.uncertified") == [[0]]
    assert len(made.rows("ceremonies.held")) == len(succeeded(made, "ceremony.run"))
    assert made.rows("approvals.executed")[0][3] == 3


def test_evidence_is_the_digest_of_the_leaves_that_are_counted(made: Made) -> None:
    told = made.content.figure("epochs.made")
    leaves = made.site.leaves()
    minted = [one["seq"] for one in succeeded(made, *MINTS)]
    assert (told.counted, told.first, told.last) == (len(minted), minted[0], minted[-1])
    assert told.evidence == digest(b"".join(leaves[seq] + b"\n" for seq in minted))


def test_only_the_period_is_counted(made: Made) -> None:
    later = Period(PERIOD.until, PERIOD.until + 60)
    found = {one.id: one for one in work_out(made.bundle, later, lambda _count: None)}
    assert found["log.leaves"].rows == [[0]]
    assert found["epochs.made"].rows == []
    assert found["escrow.generations"].rows == [[1]]  # what there is at the end began before


def test_a_query_can_neither_write_nor_reach_another_file(made: Made, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with opened(made.bundle, PERIOD) as evidence:
        for query in (
            "DELETE FROM temp.log", "CREATE TABLE x (a)", f"ATTACH '{other}' AS other",
            "PRAGMA query_only = OFF", "SELECT load_extension('x')",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
        ):  # fmt: skip
            with pytest.raises(VerificationFailed):
                evidence.work_out(query, "SELECT 1, ''")
    assert not other.exists()


def test_every_figure_is_shown_and_clauses_name_known_ones() -> None:
    shown = [name for part in parts() for name in part.figures]
    judged = {name for one in clauses() for name in one.figures}
    assert len(shown) == len(set(shown))
    assert set(shown) | judged == set(figures())
    assert {one.result for one in clauses()} == {"auto", "attested", "n/a"}


@pytest.mark.parametrize(
    ("expect", "rows", "met"),
    [
        ("= 0", [[0]], True), ("= 0", [[1]], False), ("= 0", [], False), ("= 0", [[""]], False),
        ("> 0", [[0]], False), (">= 180", [[180]], True), (">= 180", [[179]], False),
        ("none", [], True), ("none", [["x"]], False),
    ],
)  # fmt: skip
def test_what_a_clause_expects(expect: str, rows: list, met: bool) -> None:
    assert meets(expect, rows) is met


def test_trouble_is_to_be_explained(made: Made) -> None:
    results = {one.id: one.result for one in made.content.clauses}
    assert results["C-23"] == "to-explain"  # a rotation was overdue
    assert results["C-10"] == "as-expected"
    assert results["C-17"] == "attested"


# --- masking -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("王芳", "王***"), ("ou-yang-nurse", "o***"), ("li, wang", "l***, w***"),
        ("service", "service"), ("ceremony/c-1", "ceremony/c-1"), ("", ""),
    ],
)  # fmt: skip
def test_a_name_keeps_its_first_character(name: str, shown: str) -> None:
    assert mask_name(name) == shown


def test_a_masked_report_tells_nobodys_name_and_no_meeting(made: Made) -> None:
    full, shown = encode(made.content).decode(), encode(masked(made.content)).decode()
    assert [secret for secret in SECRETS if secret not in full] == []
    assert [secret for secret in SECRETS if secret in shown] == []
    path = "spaces/a/meetings/01930000-0000-7000-8000-0000000abcde/epochs/3"
    assert shorten(path) == "spaces/a/meetings/000abcde/epochs/3"


# --- the paper -----------------------------------------------------------------------------------


def text_of(document: bytes, folder: Path, order: str = "-layout") -> str:
    path = folder / "report.pdf"
    path.write_bytes(document)
    return subprocess.run(
        ["pdftotext", order, "-nodiag", path, "-"], capture_output=True, check=True, text=True
    ).stdout


@pytest.mark.parametrize("language", list(Language))
def test_the_paper_lasts_and_says_for_whom_it_is_but_nobody_elses_name(
    made: Made, tmp_path: Path, language: Language
) -> None:
    shown = masked(made.content)
    mark = Mark("qian-exporter", PERIOD.until + 3600)
    speak(language)
    try:
        document = pdf(shown, mark, {"report.json": encode(shown).decode(), "report.jws": "a.b.c"})
    finally:
        speak(Language.ZH)
    assert re.search(rb"pdfaid:part>3<", document)
    assert b"EmbeddedFile" in document
    text = text_of(document, tmp_path)
    pages = text.split("\f")[:-1]
    assert all("qian-exporter" in page for page in pages)
    assert [secret for secret in SECRETS if secret in text] == []
    wanted = {
        Language.ZH: ("目录", "自查参考分", "密钥轮换", "销毁", "安全审计员", "附录"),
        Language.EN: ("Contents", "Self-check reference score", "Rotation", "Appendix"),
    }[language]
    assert [word for word in wanted if word not in text] == []
    assert re.search("1 \\S.*[. \u2060]{9,}3$", pages[1], re.MULTILINE)  # the table of contents
    for verdict in ("通过", "passed", "合格"):
        assert verdict not in text.replace("未通过", "")


def test_no_character_stops_the_paper_and_the_attached_figures_keep_it(
    made: Made, tmp_path: Path
) -> None:
    odd = "证据 \U0001f600 \U00013000 e\u0308 \U00020bb7 \u0915\u093f \u202e"
    row = ["2026-01-01T00:00:00.000000Z", "hold.place", "treasury", "w\U0001f469\u200d\u2696", odd]
    told = replace(made.content.figure("holds.events"), rows=[row])
    others = tuple(one for one in made.content.figures if one.id != told.id)
    content = replace(made.content, figures=(*others, told))
    mark = Mark("q\U0001f600", PERIOD.until, REPORT)
    document = pdf(content, mark, {"report.json": encode(content).decode()})
    text = "".join(text_of(document, tmp_path, "-raw").split())
    shown = ("[U+1F600][U+13000]", "\u00eb\U00020bb7[U+0915][U+093F][U+202E]", "[U+1F469][U+200D]")
    assert [one for one in (*shown, "q[U+1F600]") if one not in text] == []
    subprocess.run(["pdfdetach", "-saveall", "report.pdf"], check=True, cwd=tmp_path)
    assert odd in decode((tmp_path / "report.json").read_bytes()).figure("holds.events").rows[0]


def test_equal_reports_give_equal_paper(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict] = []
    monkeypatch.setattr("kms.reports.paper.render_report", lambda data, _made: given.append(data))
    for _ in range(2):
        pdf(made.content, Mark("a", 1), {})
    assert given[0] == given[1]
    assert report_module.ATTACHING[0].startswith("a-3")


def kept(made: Made, folder: Path) -> Kept:
    """Return a report in its folder, as it was made."""
    shown, content = masked(made.content), made.content
    files, _ = signed(made, shown, full=digest(encode(content)))
    (folder / MASKED).write_bytes(encode(shown))
    (folder / FULL).write_bytes(encode(content))
    return Kept(folder, peek_report(files.statement), files.statement)


def test_what_is_exported_is_what_was_made(made: Made, tmp_path: Path) -> None:
    found = kept(made, tmp_path)
    assert read_content(found, full=False) == (masked(made.content), encode(masked(made.content)))
    assert read_content(found, full=True) == (made.content, encode(made.content))
    other = replace(made.content, maker="zhang-nobody")  # masked, it is the same
    assert masked(other) == masked(made.content)
    (tmp_path / FULL).write_bytes(encode(other))
    with pytest.raises(IntegrityFailure, match="not the one"):
        read_content(found, full=True)
    (tmp_path / FULL).write_bytes(encode(masked(made.content)))
    (tmp_path / MASKED).write_bytes(encode(made.content))
    for full in (False, True):
        with pytest.raises(IntegrityFailure, match="not the one"):
            read_content(found, full=full)


def test_a_masked_paper_carries_nobodys_full_name(made: Made, tmp_path: Path) -> None:
    found = kept(made, tmp_path)
    shown = masked(made.content)
    paper = exporting._set(found, shown, encode(shown), Mark("qian", PERIOD.until), Language.EN)
    (tmp_path / "report.pdf").write_bytes(paper)
    subprocess.run(["pdfdetach", "-saveall", "report.pdf"], check=True, cwd=tmp_path)
    assert not (tmp_path / "report.jws").exists()
    assert AUDITOR not in (tmp_path / "report.json").read_text() + text_of(paper, tmp_path)


# --- verification --------------------------------------------------------------------------------


def signed(made: Made, content: Content, **changes: object) -> tuple[Files, Site]:
    site, data = made.site, encode(content)
    told = ReportStatement(
        iss=site.site, report=REPORT, since=content.since, until=content.until, size=content.size,
        root=content.root, bundle=content.bundle, figures=digest(data), paper="", language="",
        request="", actor=AUDITOR, issued=content.made, full=digest(data),
    )  # fmt: skip
    key = site.checkpoint_key
    kid, signer = jws.spki_id(key.public_key()), jws.private_signer(key)
    token = sign_report(replace(told, **changes), kid, signer)  # type: ignore[arg-type]
    return Files(data, token, content.bundle), site


def failing(made: Made, content: Content, **changes: object) -> set[ReportCheck]:
    files, site = signed(made, content, **changes)
    keys = verify_keylist(site.key_list(), site.root_key.public_key())
    found = verify(made.bundle, files, keys, made.audited, lambda _count: None)
    return {one.check for one in found if one.problems}


def test_an_honest_report_holds(made: Made) -> None:
    assert failing(made, masked(made.content)) == set()
    assert decode(encode(made.content)) == made.content


def test_a_figure_that_the_bundle_does_not_give_is_found(made: Made) -> None:
    shown = masked(made.content)
    lie = replace(shown.figures[0], rows=[[1]])
    assert ReportCheck.FIGURES in failing(made, replace(shown, figures=(lie, *shown.figures[1:])))
    other = replace(shown.figures[0], query="SELECT 57")
    assert ReportCheck.FIGURES in failing(made, replace(shown, figures=(other, *shown.figures[1:])))
    less = replace(shown, figures=shown.figures[1:])
    assert {ReportCheck.FIGURES, ReportCheck.CLAUSES} <= failing(made, less)


def test_a_clause_that_its_figures_do_not_bear_out_is_found(made: Made) -> None:
    shown = masked(made.content)
    fine = tuple(replace(one, result="as-expected") for one in shown.clauses)
    assert failing(made, replace(shown, clauses=fine)) == {ReportCheck.CLAUSES}


def test_a_statement_about_something_else_is_found(made: Made) -> None:
    shown = masked(made.content)
    assert failing(made, shown, since=shown.since + 1) == {ReportCheck.STATEMENT}
    assert failing(made, shown, bundle=digest(b"other")) == {ReportCheck.DIGESTS}
    assert failing(made, shown, figures=digest(b"other")) == {ReportCheck.DIGESTS}
    full = failing(made, made.content)
    assert full == {ReportCheck.STATEMENT}  # names in full, and no request for it


def test_another_key_signs_no_statement(made: Made) -> None:
    files, site = signed(made, masked(made.content))
    stranger = verify_keylist(Site().key_list(), Site().root_key.public_key())
    with pytest.raises(VerificationFailed):
        verify(made.bundle, files, stranger, made.audited, lambda _count: None)
    assert site.site == stranger.iss
