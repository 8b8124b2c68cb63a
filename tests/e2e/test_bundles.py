"""An exported bundle is tampered with, and the verifying command is asked about it."""

import pytest

from tests.practice.service import Service
from tests.scenarios import bundles
from tests.scenarios.bundles import Exported, Found

INVALID = 65


@pytest.fixture(scope="module")
def exported(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return bundles.export(service, tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def found(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    return bundles.run(exported, tmp_path_factory.mktemp("tampered"))


def test_the_untouched_bundle_verifies(exported: Exported) -> None:
    assert bundles.verify(exported, exported.bundle) == Found(0, frozenset())


@pytest.mark.parametrize("tampering", bundles.TAMPERINGS)
def test_every_tampering_is_found(found: dict[str, Found], tampering: str) -> None:
    assert found[tampering].code == INVALID
    assert found[tampering].failed


@pytest.mark.parametrize("tampering", bundles.ONLY_BY_THE_EARLIER_CHECKPOINT)
def test_what_contradicts_nothing_inside_is_found_by_the_earlier_checkpoint_alone(
    found: dict[str, Found], tampering: str
) -> None:
    assert found[tampering].failed == {"AV-08"}
