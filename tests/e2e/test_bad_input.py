"""The list of bad input, sent to a served site by a local caller and by a meeting server."""

import pytest

from tests.practice.service import Service
from tests.scenarios import bad_input
from tests.scenarios.bad_input import Report

TLS_EVERY = 5


@pytest.fixture(scope="module")
def report(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return bad_input.run(service, tmp_path_factory.mktemp("bad"), every=1, tls_every=TLS_EVERY)


def test_every_request_is_answered_with_a_4xx_in_the_one_error_shape(report: Report) -> None:
    assert report.wrong == []


def test_it_meets_what_a_local_caller_and_what_a_server_may_ask(report: Report) -> None:
    assert report.socket > 1000
    assert report.tls > 200
    assert {"invalid_input", "too_large", "header_too_large", "not_found"} <= set(report.codes)


def test_no_table_is_changed_and_the_log_grows_by_refusals_and_the_alert_about_them(
    report: Report,
) -> None:
    assert report.changed == []
    assert set(report.actions) <= {"access.refused", "approval.refused", "alert.raise"}


def test_every_process_is_the_same_afterwards(report: Report) -> None:
    assert report.same_processes
