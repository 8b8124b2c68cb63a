"""Dashboard, rules and page speak of metrics that the service exposes, and of all of them."""

import json
import re
from pathlib import Path

import pytest

from kms.api.facts import families
from kms.domain.alerts import ALERTS
from kms.usecases.watch.state import ChannelState
from tests.docs.pages import DOCS
from tests.fixtures.api import FakeSite, run_with_site

PLACE = DOCS / "monitoring"
DASHBOARD, RULES = PLACE / "conclave-dashboard.json", PLACE / "alerts.rules.yml"
REQUESTS = {
    "conclave_requests_total": {"operation", "status"},
    "conclave_request_seconds_bucket": {"operation", "le"},
    "conclave_request_seconds": {"operation"},
}


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """The metrics that the service exposes, with their labels."""
    found = dict(REQUESTS)

    async def work(site: FakeSite) -> None:
        site.services.watched.channels["soc"] = ChannelState()
        found.update({one.name: {one.label} - {""} for one in families(site.services)})

    run_with_site(work)
    return found


def dashboard() -> list[tuple[str, str]]:
    """Return each panel's title and expression."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]


def rules() -> list[tuple[str, str]]:
    """Return each rule's name and expression; every line of the file is of a known form."""
    found, name = [], ""
    forms = re.compile(
        r"#.*|groups:|  - name: \w+|    rules:|      - alert: (?P<alert>\w+)"
        r"|        expr: (?P<expr>[^#]+)|        for: \d+[mh]|        annotations:"
        r'|          summary: "[^"]+"|        labels: \{severity: (critical|warning)\}'
    )
    for line in RULES.read_text("utf-8").splitlines():
        match = forms.fullmatch(line)
        assert match, line
        name = match["alert"] or name
        if match["expr"]:
            found.append((name, match["expr"]))
    return found


EXPRESSIONS = [*dashboard(), *rules()]


@pytest.mark.parametrize(("what", "expression"), EXPRESSIONS, ids=[one for one, _ in EXPRESSIONS])
def test_every_expression_names_what_is_exposed(
    what: str, expression: str, exposed: dict[str, set[str]]
) -> None:
    names = re.findall(r"conclave_\w+", expression)
    assert names, what
    for name in names:
        assert name in exposed
    labels = set(re.findall(r'(\w+)=~?"', expression))
    for by in re.findall(r"by \(([^)]*)\)", expression):
        labels |= {one.strip() for one in by.split(",")}
    assert labels <= set().union(*(exposed[name] for name in names))
    assert expression.count("(") == expression.count(")")


def test_every_metric_stands_on_the_page_with_its_labels(exposed: dict[str, set[str]]) -> None:
    text = (DOCS / "monitoring.md").read_text("utf-8")
    for name, labels in exposed.items():
        if not name.endswith("_bucket"):
            assert name in text
            for shown in re.findall(rf"`{name}\{{([^}}]*)\}}`", text):
                assert set(shown.split(",")) == labels


def test_every_alert_stands_on_the_page() -> None:
    text = (DOCS / "monitoring.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (?:notice|warning|critical) \|", text, re.MULTILINE)
    assert rows == list(ALERTS)


def test_the_dashboards_panels_have_numbers_of_their_own() -> None:
    document = json.loads(DASHBOARD.read_text("utf-8"))
    numbers = [panel["id"] for panel in document["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert document["uid"] == "conclave"


def test_the_rules_are_where_the_page_says() -> None:
    assert Path(RULES).is_file()
    assert len(rules()) == len({name for name, _ in rules()})
