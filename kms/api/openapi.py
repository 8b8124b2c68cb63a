"""The OpenAPI 3.1 document: roles, states and errors of each operation, from the one table."""

import re
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from kms.api.endpoints import Endpoint
from kms.api.idempotency import HEADER
from kms.api.problem import MEDIA_TYPE as PROBLEM
from kms.errors import AssertionRequired
from kms.operations import COMMON_ERRORS, OPERATIONS, Operation
from kms.wire.replies import Problem
from kms.wire.requests import ASSERTION
from kms.wire.statuses import STATUS

_REF = "#/components/schemas/{model}"
_JSON = "application/json"
_PATH_FIELD = re.compile(r"\{(\w+)\}")
_MEANINGS = {
    "space": "the space's slug",
    "grant": "the grant's id, that of the request that made it",
    "meeting": "the meeting's UUIDv7",
    "epoch": "the epoch's number, or `current`",
    "recipient": "SHA-256 of the recipient's public key, base64url",
    "leaf": "the leaf's sequence number",
    "request": "the UUIDv7 of a request for approval",
    "disk": "the disk's UUIDv7, which is its LUKS UUID too",
    "report": "the UUIDv7 of a compliance report",
    "serial": "the device's serial number",
    "order": "the UUIDv7 of an order to the appliance",
    "credential": "the passkey's credential id, base64url",
}


def describe(endpoint: Endpoint) -> dict[str, Any]:
    """Return the OpenAPI operation object of one endpoint."""
    operation = OPERATIONS[endpoint.operation]
    sharing = [entry for entry in OPERATIONS.values() if entry.key == operation.key]
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": " / ".join(entry.summary_en for entry in sharing),
        "x-conclave-summary-zh": "；".join(entry.summary_zh for entry in sharing),
        "x-conclave-operations": [entry.id for entry in sharing],
        "x-conclave-roles": sorted({role.value for entry in sharing for role in entry.roles}),
        "x-conclave-states": sorted({state.value for entry in sharing for state in entry.states}),
        "x-conclave-errors": sorted(_codes(operation)),
        "tags": [operation.id.partition(".")[0]],
        "parameters": _parameters(endpoint, operation),
        "responses": _responses(endpoint, operation),
    }
    if endpoint.body:
        described["requestBody"] = {
            "required": any(field.is_required() for field in endpoint.body.model_fields.values()),
            "content": {_JSON: {"schema": _schema(endpoint.body)}},
        }
    return described


def document(app: FastAPI, endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the whole document."""
    listed = list(endpoints)
    base = get_openapi(
        title=app.title, version=app.version, openapi_version="3.1.0", routes=[],
        description=app.description,
    )  # fmt: skip
    for endpoint in listed:
        operation = OPERATIONS[endpoint.operation]
        methods = base["paths"].setdefault(operation.path, {})
        methods[operation.method.lower()] = describe(endpoint)
    base["components"] = {"schemas": _schemas(listed)}
    return base


def _parameters(endpoint: Endpoint, operation: Operation) -> list[dict[str, Any]]:
    found = [
        _parameter("path", name, _MEANINGS[name], required=True)
        for name in _PATH_FIELD.findall(operation.path)
    ]
    found += [_parameter("query", name, meaning) for name, meaning in endpoint.query]
    if operation.creates:
        found.append(_parameter("header", HEADER, "new for each thing to create", required=True))
    if AssertionRequired.code in operation.errors:
        told = "JWT or statement of presence, for a confidential meeting"
        found.append(_parameter("header", ASSERTION, told))
    return found


def _parameter(place: str, name: str, meaning: str, *, required: bool = False) -> dict[str, Any]:
    return {
        "in": place,
        "name": name,
        "description": meaning,
        "required": required,
        "schema": {"type": "string"},
    }


def _responses(endpoint: Endpoint, operation: Operation) -> dict[str, Any]:
    if isinstance(endpoint.reply, str):
        content = {endpoint.reply: {"schema": {"type": "string"}}}
    else:
        content = {_JSON: {"schema": _schema(endpoint.reply)}}
    responses: dict[str, Any] = {str(endpoint.status): {"description": "Done", "content": content}}
    for code in sorted(_codes(operation)):
        status = str(STATUS[code])
        known = responses.setdefault(
            status, {"description": "", "content": {PROBLEM: {"schema": _schema(Problem)}}}
        )
        known["description"] = ", ".join(filter(None, [known["description"], code]))
    return responses


def _codes(operation: Operation) -> set[str]:
    body = {"unsupported_media_type"} if operation.method != "GET" else set()
    return {*COMMON_ERRORS, "host_not_allowed", "header_too_large", *operation.errors, *body}


def _schema(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _schemas(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    models: set[type[BaseModel]] = {Problem}
    for endpoint in endpoints:
        models |= {endpoint.body} if endpoint.body else set()
        models |= set() if isinstance(endpoint.reply, str) else {endpoint.reply}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schema = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    definitions: dict[str, Any] = schema["$defs"]
    return definitions
