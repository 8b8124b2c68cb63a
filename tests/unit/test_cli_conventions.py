"""What every command has in common: streams, languages, exit codes, global options."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kms.cli.exits import EXIT_BY_CODE, MEANINGS, Exit
from kms.cli.main import choose_language
from kms.cli.output import Column, Output
from kms.cli.reference import cli_reference, error_classes
from kms.cli.register import register
from kms.cli.session import Session
from kms.errors import ConclaveError, NotFound, StateNotAllowed
from kms.i18n import Language
from tests.fixtures.cli import Cli

FINISHED = CliRunner()


def app_of(action: Callable[[Session], None]) -> typer.Typer:
    """An app whose two commands do the same, so that commands have names."""

    def one(session: Session) -> None:
        """Do it."""
        action(session)

    app = typer.Typer()
    register(app, "one", one)
    register(app, "two", one)
    return app


def fail_with(error: Exception) -> Callable[[Session], None]:
    def action(_session: Session) -> None:
        raise error

    return action


# --- exit codes ----------------------------------------------------------------------------------


def test_every_error_code_has_an_exit_code_and_nothing_else_has() -> None:
    assert {kind.code for kind in error_classes()} == set(EXIT_BY_CODE)
    assert set(MEANINGS) == set(Exit)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        ([], 64),
        (["no-such-command"], 64),
        (["meeting"], 64),
        (["meeting", "show"], 64),
        (["status", "--no-such-option"], 64),
        (["epoch", "rotate", "treasury", "x", "--reason", "boredom"], 64),
        (["--lang", "fr", "status"], 64),
        (["init"], 78),
        (["--config", "/nonexistent.toml", "status"], 78),
        (["--url", "https://127.0.0.1:1", "status"], 65),
        (["--url", "https://127.0.0.1:1", "--identity", "/nonexistent", "status"], 78),
        (["--identity", "/nonexistent", "status"], 65),
        (["meeting", "open", "treasury"], 65),
        (["roster", "set", "treasury", "x", "--recipient", "short"], 65),
        (["roster", "set", "treasury", "x", "--statement", "/nonexistent"], 66),
        (["audit", "verify", "x", "--site-root", "/nonexistent"], 66),
        (["ceremony"], 64),
        (["ceremony", "plan", "new", "no-such-kind"], 66),
        (["ceremony", "plan", "check", "/nonexistent.toml"], 66),
        (["ceremony", "sign", "--person", "x"], 65),
        (["ceremony", "verify", "x", "--site-root", "/nonexistent"], 66),
        (["ceremony", "list", "--state", "/nonexistent"], 0),
        (["ceremony", "show", "x", "--state", "/nonexistent"], 66),
    ],
)
def test_a_command_line_ends_with_the_documented_code(
    cli: Cli, arguments: list[str], code: int
) -> None:
    ended = cli(*arguments)
    assert ended.code == code
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (NotFound("there is no such thing"), 66, "[not_found]"),
        (StateNotAllowed("not now", hint="later"), 75, "[state_not_allowed]"),
        (ConclaveError("odd"), 70, "[internal_error]"),
        (FileExistsError(17, "File exists", "/x"), 73, "[already_exists]"),
        (PermissionError(13, "Permission denied", "/x"), 77, "[forbidden]"),
        (IsADirectoryError(21, "Is a directory", "/x"), 65, "[invalid_input]"),
    ],
)
def test_an_error_ends_the_command_with_its_code(error: Exception, code: int, shown: str) -> None:
    ended = FINISHED.invoke(app_of(fail_with(error)), ["one"])
    assert ended.exit_code == code
    assert shown in ended.stderr
    assert not ended.stdout


def test_a_fault_of_ours_shows_neither_traceback_nor_what_it_was_about() -> None:
    ended = FINISHED.invoke(app_of(fail_with(ValueError("PIN 1234"))), ["one"])
    assert ended.exit_code == 70
    assert "ValueError" in ended.stderr
    assert "1234" not in ended.output
    assert "Traceback" not in ended.output


# --- streams -------------------------------------------------------------------------------------


def test_with_json_an_error_is_one_document_on_stderr(cli: Cli) -> None:
    ended = cli("init", "--json")
    assert not ended.out
    error = json.loads(ended.err)["error"]
    assert error["code"] == "configuration_error"
    assert set(error) == {"code", "detail", "hint"}


def test_a_real_site_is_said_to_be_founded_by_a_ceremony(cli: Cli) -> None:
    ended = cli("init")
    assert "conclave ceremony plan new initialise-site" in ended.err
    assert "--practice DIR" in ended.err


def show(session: Session) -> None:
    rows = [{"name": "a\tb", "size": 1}, {"name": "[bold]c[/]", "size": None}]
    session.output.note("a remark")
    session.output.table({"items": rows}, rows, (Column("Name", "name"), Column("Size", "size")))


def test_in_a_pipe_a_table_is_tab_separated_without_colour() -> None:
    ended = FINISHED.invoke(app_of(show), ["one", "--lang", "en"])
    lines = ended.stdout.splitlines()
    assert [line.split("\t")[1:] for line in lines[1:]] == [["1"], ["-"]]
    assert [line.split("\t")[0] for line in lines[1:]] == ["a b", "[bold]c[/]"]
    assert "\x1b" not in ended.output


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_text_from_elsewhere_cannot_steer_the_terminal(options: list[str]) -> None:
    nasty = "a\x1b[2J\x9b8m\u202e\rb"

    def say(session: Session) -> None:
        session.output.banner(nasty)
        session.output.note(nasty)
        session.output.document({"name": nasty}, f"{nasty}\tc\nd")
        session.output.table([nasty], [{"name": nasty}], [Column("Name", "name")])
        session.output.record(nasty, {"name": nasty}, [Column("Name", "name")])
        raise NotFound(nasty, hint=nasty)

    ended = FINISHED.invoke(app_of(say), ["one", *options])
    assert not set("\x1b\x9b\u202e\r") & set(ended.output)
    assert "a\\u001b[2J" in ended.stdout


def test_remarks_go_to_stderr_and_quiet_leaves_them_out() -> None:
    assert "a remark" in FINISHED.invoke(app_of(show), ["one"]).stderr
    assert "a remark" not in FINISHED.invoke(app_of(show), ["one", "-q"]).output


def test_json_is_one_document_with_sorted_keys() -> None:
    ended = FINISHED.invoke(app_of(show), ["one", "--json"])
    document = json.loads(ended.stdout)
    assert document["items"][0] == {"name": "a\tb", "size": 1}
    assert ended.stdout == json.dumps(document, indent=2, sort_keys=True) + "\n"


def terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> Output:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", "24")
    return Output()


@pytest.mark.parametrize("width", [40, 80])
def test_on_a_terminal_no_cell_is_broken_where_a_line_can_hold_it(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": f"{number}" * 30, "name": "n" * 20} for number in (1, 2)]
    shown = terminal(width, monkeypatch)
    shown.table({}, rows, [Column("Recipient", "id"), Column("Name", "name")])
    lines = capsys.readouterr().out.splitlines()
    assert [sum(row["id"] in line for line in lines) for row in rows] == [1, 1]
    assert len(lines) == (5 if width == 40 else 3)


def test_a_table_without_rows_says_so_and_shows_no_heading(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(80, monkeypatch).table({}, [], [Column("Name", "name")], empty="Nobody is here.")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Nobody is here." in captured.err


# --- global options ------------------------------------------------------------------------------


def test_a_global_option_stands_before_or_behind_the_command(cli: Cli) -> None:
    before = cli("--config", "/nonexistent.toml", "--json", "status")
    behind = cli("status", "--json", "--config", "/nonexistent.toml")
    assert before == behind
    assert "/nonexistent.toml" in before.err


def test_the_inner_option_wins_over_the_outer(cli: Cli) -> None:
    ended = cli("--config", "/outer.toml", "status", "--config", "/inner.toml")
    assert "/inner.toml" in ended.err
    assert "/outer.toml" not in ended.err


# --- language ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "environment", "language"),
    [
        ([], {}, Language.ZH),
        ([], {"CONCLAVE_LANG": "en"}, Language.EN),
        (["status", "--lang", "en"], {}, Language.EN),
        (["--lang=zh", "status"], {"CONCLAVE_LANG": "en"}, Language.ZH),
        (["--lang"], {}, Language.ZH),
        (["--lang", "fr"], {}, Language.ZH),
        (["--", "--lang", "en"], {}, Language.ZH),
    ],
)
def test_the_language_is_chinese_unless_said_otherwise(
    arguments: list[str], environment: dict[str, str], language: Language
) -> None:
    assert choose_language(arguments, environment) is language


def test_an_error_in_chinese_keeps_its_code_and_what_it_is_about(cli: Cli) -> None:
    ended = cli("--lang", "zh", "--config", "/nonexistent.toml", "status")
    assert "[configuration_error] 配置不可用。" in ended.err
    assert "/nonexistent.toml" in ended.err


def conclave(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kms.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_help_is_chinese_down_to_typers_own_words() -> None:
    text = conclave("meeting", "destroy", "--help").stdout
    assert "说明经批准的销毁" in text
    assert "选项" in text
    assert "参数" in text
    assert "显示此帮助并退出。" in text
    assert "Options" not in text.replace("[OPTIONS]", "")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["people", "show"], "缺少 'name'。"),
        (["ceremony", "verify", "x"], "缺少 '--site-root'。"),
        (["people", "list", "--stat", "x"], "没有选项 --stat。 是否为：--state"),
        (["--lang", "fr", "people", "list"], "'--lang' 的值有误："),
    ],
)
def test_a_wrong_command_line_is_answered_in_chinese(line: list[str], told: str) -> None:
    ended = conclave(*line)
    assert ended.returncode == 64
    assert told in ended.stderr


def test_chinese_help_is_not_cut_off_on_a_narrow_terminal() -> None:
    commands = re.findall("^### conclave (.+)$", cli_reference(), re.MULTILINE)
    code = (
        "import sys; from kms.cli.main import run\n"
        "for line in sys.argv[1:]: run(['--lang', 'zh', *line.split(), '--help'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *commands],
        env={**os.environ, "TERMINAL_WIDTH": "80"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stdout.count("conclave meeting open") == 1
    assert [line for line in ended.stdout.splitlines() if "…" in line] == []


def test_help_loads_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from kms.cli.main import run; run(['--help']);"
        "heavy = {'cryptography', 'pydantic', 'httpx2', 'sqlite3', 'pkcs11', 'asyncio', 'msgspec'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stderr.strip() == "[]"


def test_a_service_that_does_not_answer_ends_with_69() -> None:
    ended = conclave("--lang", "en", "--socket", "/nonexistent.sock", "status")
    assert ended.returncode == 69
    assert "[unavailable] the service does not answer" in ended.stderr
    assert "nothing was changed" in ended.stderr


def test_completion_knows_the_commands() -> None:
    asked = {"_CONCLAVE_COMPLETE": "complete_bash", "COMP_WORDS": "conclave mee", "COMP_CWORD": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", "from kms.cli.main import main; main()"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.stdout.split() == ["meeting"]


def test_a_statement_that_is_not_a_signed_one_is_refused_unrepeated(
    tmp_path: Path, cli: Cli
) -> None:
    statement = tmp_path / "roster.jws"
    statement.write_text("not signed")
    ended = cli("roster", "set", "banking", "x", "--statement", statement)
    assert ended.code == 65
    assert "statement" in ended.err
    assert "not signed" not in ended.err
