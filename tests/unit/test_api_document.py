"""The OpenAPI document says of each operation what the table says."""

import json

import pytest

from kms.operations import COMMON_ERRORS, OPERATIONS, Operation
from kms.wire.statuses import STATUS
from tests.fixtures.api import FakeSite, run_with_site


@pytest.fixture(scope="module")
def document() -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    found = []

    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            found.append((await client.get("/v1/openapi.json")).json())
            for path in ("/docs", "/redoc", "/openapi.json"):
                assert (await client.get(path)).status_code == 404

    run_with_site(work)
    return found[0]


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda entry: entry.id)
def test_every_operation_is_described_as_the_table_has_it(
    document: dict[str, dict[str, dict[str, dict[str, object]]]], operation: Operation
) -> None:
    said = document["paths"][operation.path][operation.method.lower()]
    assert operation.id in said["x-conclave-operations"]
    assert {role.value for role in operation.roles} <= set(said["x-conclave-roles"])
    assert {state.value for state in operation.states} == set(said["x-conclave-states"])
    codes = {*COMMON_ERRORS, *operation.errors}
    assert codes <= set(said["x-conclave-errors"])
    for code in codes:
        assert code in said["responses"][str(STATUS[code])]["description"]
    named = {entry["name"] for entry in said["parameters"] if entry["in"] == "path"}
    assert operation.path.format(**dict.fromkeys(named, "x")).count("{") == 0
    header = any(entry["name"] == "idempotency-key" for entry in said["parameters"])
    assert header is operation.creates


def test_the_document_holds_no_other_path_and_no_dangling_reference(
    document: dict[str, dict[str, object]],
) -> None:
    assert str(document["openapi"]).startswith("3.1")
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert described == {operation.key for operation in OPERATIONS.values()}
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    used = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used <= schemas.keys()
    assert "http://" not in text
    assert "https://" not in text
