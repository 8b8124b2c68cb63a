"""Log lines are one JSON object each, whatever stands in them; or text for people."""

import json
import logging
from collections.abc import Iterator

import pytest

from kms.logs import Form, configure


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


def written(capsys: pytest.CaptureFixture[str], form: Form, process: str = "worker t") -> str:
    configure(process, form)
    log = logging.getLogger("kms.hsm.server")
    log.warning("line one\nline %s", "two", extra={"uid": 1500})
    return capsys.readouterr().err


def test_a_line_is_json_and_names_its_process(capsys: pytest.CaptureFixture[str]) -> None:
    text = written(capsys, "json")
    assert text.count("\n") == 1
    line = json.loads(text)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning", "process": "worker t", "logger": "kms.hsm.server",
        "message": "line one\nline two", "uid": 1500,
    }  # fmt: skip


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert written(capsys, "text").startswith("worker t: WARNING line one")


def test_an_exception_stands_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("web")
    try:
        {}["a fault"]
    except KeyError:
        logging.getLogger("x").exception("it failed")
    assert "KeyError: 'a fault'" in json.loads(capsys.readouterr().err)["exception"]


def test_a_level_leaves_out_what_is_less_grave(capsys: pytest.CaptureFixture[str]) -> None:
    configure("web", "json", "error")
    logging.getLogger("x").warning("not written")
    assert capsys.readouterr().err == ""
