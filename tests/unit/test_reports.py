"""Reports: figures are what a plain recount gives, names are masked, the paper is a lasting one."""

import hashlib
import json
import re
import subprocess
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from kms.audit.verify import verify_bundle
from kms.documents import report as report_module
from kms.domain.reports import Period
from kms.errors import IntegrityFailure, VerificationFailed
from kms.i18n import Language, speak
from kms.reports.catalogue import clauses, figures, meets, parts
from kms.reports.content import (
    FORMAT,
    Content,
    decode,
    encode,
    judge,
    masked,
    told_by_name,
    work_out,
)
from kms.reports.figures import opened
from kms.reports.masking import Names, shorten
from kms.reports.paper import Mark, paper_data, pdf
from kms.reports.verdict import document, to_text
from kms.reports.verification import Checked, Files, ReportCheck, verify
from kms.site_time import zone_of
from kms.statements import jws
from kms.statements.canonical import b64u, digest
from kms.statements.keylist import verify_keylist
from kms.statements.report import ReportStatement, peek_report, sign_report
from kms.usecases.reports import exporting
from kms.usecases.reports.folder import FULL, MASKED, Kept, read_content
from tests.fixtures.evidence import Site
from tests.fixtures.reported import AUDITOR, PERIOD, REPORT, busy_site

OFFSET = 480
MINTS = {"meeting.open", "roster.change", "epoch.rotate"}
SECRETS = (
    "ou-yang-nurse", "wang-security", "zhao-auditor", "Zhao-Auditor",
    "Li-Security", "01930000-0000-7000-8000-000000000001", "case 7788",
)  # fmt: skip


class Made:
    """A report of a busy site, made once for this module; nothing of it is changed."""

    def __init__(self, folder: Path) -> None:
        self.site = busy_site()
        self.bundle = self.site.write(folder / "evidence.db")
        self.audited = verify_bundle(self.bundle, self.site.root_key.public_key())
        found = work_out(self.bundle, PERIOD, OFFSET, lambda _count: None)
        self.content = Content(
            format=FORMAT, site=self.site.site, report=REPORT, maker=AUDITOR,
            since=PERIOD.since, until=PERIOD.until, made=PERIOD.until + 60, offset=OFFSET,
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
    found = {one.id: one for one in work_out(made.bundle, later, OFFSET, lambda _count: None)}
    assert found["log.leaves"].rows == [[0]]
    assert found["epochs.made"].rows == []
    assert found["escrow.generations"].rows == [[1]]  # what there is at the end began before


@pytest.mark.parametrize("offset", [480, 0, -720])
def test_days_are_those_of_the_sites_time(made: Made, offset: int) -> None:
    zone = zone_of(offset)
    minted = [datetime.fromisoformat(one["time"]) for one in succeeded(made, *MINTS)]
    days = Counter(f"{one.astimezone(zone):%Y-%m-%d}" for one in minted)
    found = {one.id: one for one in work_out(made.bundle, PERIOD, offset, lambda _count: None)}
    assert dict(map(tuple, found["rotation.days"].rows)) == days
    told = replace(made.content, offset=offset, figures=tuple(found.values()))
    bars = next(
        figure["bars"] for section in paper_data(told, Mark("a", 1))["sections"]
        for figure in section["figures"] if figure["title"].startswith("每日生成")
    )  # fmt: skip
    assert sum(bar["value"] for bar in bars) == days.total()
    assert bars[0]["label"] == f"{datetime.fromtimestamp(PERIOD.since, zone):%Y-%m-%d}"


def test_a_query_can_neither_write_nor_reach_another_file(made: Made, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with opened(made.bundle, PERIOD, OFFSET) as evidence:
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


def test_what_is_to_be_explained_says_why_and_has_lines_to_sign(made: Made) -> None:
    speak(Language.EN)
    try:
        given = paper_data(made.content, Mark("qian", PERIOD.until))
    finally:
        speak(Language.ZH)
    grave = [one for one in given["clauses"] if one["grave"]]
    assert grave
    for one in grave:
        assert re.fullmatch(r"F-\d\d is [\d-]+, expected (=|>|>=) \d+", one["why"])
        assert sum(one["why"] in line for line in given["attests"]) >= 1
    assert not any(one["why"] for one in given["clauses"] if not one["grave"])
    attested = sum(one.result == "attested" for one in clauses())
    assert len(given["attests"]) == len(grave) + attested


# --- masking -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("王芳", "***1"), ("ou-yang-nurse", "***1"), ("li, wang, li", "***1, ***2, ***1"),
        ("service", "service"), ("ceremony/c-1", "ceremony/c-1"), ("server:ms-1", "server:ms-1"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_name_becomes_a_number(name: str, shown: str) -> None:
    assert Names().mask(name) == shown


def test_masked_rows_are_told_apart_and_one_person_is_one_throughout(made: Made) -> None:
    shown = masked(made.content)
    for full, hidden in zip(made.content.figures, shown.figures, strict=True):
        people = [at for at, one in enumerate(figures()[full.id].columns) if one.kind == "person"]
        for at in people:
            names = [row[at] for row in full.rows]
            assert len(set(names)) == len({row[at] for row in hidden.rows}), full.id
    makers = [row[2] for row in shown.figure("reports.events").rows]
    assert len(set(makers)) == 1
    assert shown.maker == "***"
    assert {row[0] for row in shown.figure("people.roles").rows} == {"***"}
    assert [row[0] for row in shown.figure("envelopes.callers").rows] == ["server:meet-1"] * 2


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
    assert hashlib.sha256(made.bundle.read_bytes()).hexdigest() in pages[0]  # as sha256sum has it
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
    held = made.content.figure("holds.events")
    lied = replace(held, rows=[[*row[:-1], "no court at all"] for row in held.rows])
    told = tuple(lied if one is held else one for one in made.content.figures)
    other = replace(made.content, figures=told)  # masked, it is the same
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


def test_with_full_names_people_stand_by_name_and_slug(made: Made) -> None:
    shown = told_by_name(made.content, {"wang-security": "Fang Wang", AUDITOR: "Min Zhao"})
    assert shown.maker == f"Min Zhao ({AUDITOR})"
    given = paper_data(shown, Mark("qian", PERIOD.until, REPORT))
    people = json.dumps(given["sections"])
    assert "Fang Wang (wang-security)" in people
    assert not re.search(r"(?<!\()wang-security", people)
    assert "service" in people  # who has no name stays as it is


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
    token = sign_report(replace(told, **changes), kid, signer)
    return Files(data, token, content.bundle), site


def checks(made: Made, content: Content, **changes: object) -> tuple[Checked, ...]:
    files, site = signed(made, content, **changes)
    keys = verify_keylist(site.key_list(), site.root_key.public_key())
    return verify(made.bundle, files, keys, made.audited, lambda _count: None)


def failing(made: Made, content: Content, **changes: object) -> set[ReportCheck]:
    return {one.check for one in checks(made, content, **changes) if one.problems}


def test_an_honest_report_holds(made: Made) -> None:
    assert failing(made, masked(made.content)) == set()
    assert decode(encode(made.content)) == made.content


def test_a_report_from_elsewhere_names_no_odd_time_and_forges_no_line(made: Made) -> None:
    shown = masked(made.content)
    for change in ({"offset": 10**9}, {"until": 10**15}, {"since": -1}):
        with pytest.raises(VerificationFailed, match="a time that there is not"):
            decode(encode(replace(shown, **change)))
    odd = replace(shown.figures[0], id="x\nRV-04 [passes]")
    found = checks(made, replace(shown, figures=(*shown.figures, odd)))
    lines = to_text(replace(shown, site="a\nRV-04 [passes]"), found).splitlines()
    assert sum(line.startswith("RV-04") for line in lines) == 1


def test_the_verdict_is_told_in_words(made: Made) -> None:
    speak(Language.EN)
    try:
        found = checks(made, masked(made.content), bundle=digest(b"other"))
        text, told = to_text(made.content, found), document(made.content, found)
        fine = to_text(masked(made.content), checks(made, masked(made.content)))
    finally:
        speak(Language.ZH)
    assert "RV-03 [fails] Bundle and figures are those that the HSM signed for (2 files)" in text
    assert "the bundle: not what was signed" in text
    assert "Do not rely on this report" in text
    assert "RV-06 [not looked at]" in text
    assert told["verdict"] == "fail"
    assert [one["check"] for one in told["checks"] if not one["holds"]] == ["RV-03"]
    assert "Conclusion: it holds." in fine
    assert ("Names in full" in text, told["masked"]) == (True, False)
    assert "Names masked" in fine


def test_a_figure_that_the_bundle_does_not_give_is_found(made: Made) -> None:
    shown = masked(made.content)
    lie = replace(shown.figures[0], rows=[[1]])
    assert ReportCheck.FIGURES in failing(made, replace(shown, figures=(lie, *shown.figures[1:])))
    other = replace(shown.figures[0], query="SELECT 57")
    assert ReportCheck.FIGURES in failing(made, replace(shown, figures=(other, *shown.figures[1:])))
    assert failing(made, replace(shown, offset=-720)) == {ReportCheck.FIGURES}  # other days
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
