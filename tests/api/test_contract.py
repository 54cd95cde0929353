"""The OpenAPI document beside the contract, contract.md."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Api

#: The contract as the user gave it.
PAGE = Path(__file__).with_name("contract.md")
#: Every endpoint of it: method, path, query parameters, form or body fields.
CONTRACT: dict[tuple[str, str], tuple[set[str], set[str]]] = {
    ("POST", "/auth/register"): (set(), {"username", "email", "password", "full_name"}),
    ("POST", "/auth/token"): (set(), {"username", "password"}),
    ("GET", "/auth/me"): (set(), set()),
    ("GET", "/projects"): ({"skip", "limit"}, set()),
    ("POST", "/projects"): (set(), {"name", "description"}),
    ("GET", "/projects/{id}"): (set(), set()),
    ("PUT", "/projects/{id}"): (set(), {"name", "description", "status"}),
    ("DELETE", "/projects/{id}"): (set(), set()),
    ("POST", "/projects/{id}/start-reconstruction"): ({"quality"}, set()),
    ("GET", "/projects/{id}/status"): (set(), set()),
    ("POST", "/files/upload/video"): (set(), {"file", "project_id"}),
    ("POST", "/files/extract-frames"): (set(), {"project_id", "interval"}),
    ("GET", "/files/download/{project_id}/{file_type}"): (set(), set()),
    ("GET", "/files/list/{project_id}"): (set(), set()),
    ("GET", "/jobs"): ({"project_id", "status", "job_type", "skip", "limit"}, set()),
    ("GET", "/jobs/{id}"): (set(), set()),
    ("POST", "/jobs/{id}/cancel"): (set(), set()),
    ("GET", "/jobs/{id}/logs"): (set(), set()),
    ("GET", "/jobs/project/{project_id}/status"): (set(), set()),
}
#: Where an operator's tools ask; the base URL does not hold there.
OPERATIONS = {"/health", "/ready", "/metrics"}
#: Paths that need no token.
PUBLIC = OPERATIONS | {
    "/api/v1/auth/register",
    "/api/v1/auth/token",
    "/api/v1/auth/session",
    "/api/v1/auth/refresh",
    "/api/v1/auth/password/forgot",
    "/api/v1/auth/password/reset",
}
#: Those that answer 401 nevertheless: to wrong passwords and refresh tokens.
LOGINS = {f"/api/v1/auth/{name}" for name in ("token", "session", "refresh")}
#: Links that share a model: their token is in the address.
PUBLIC |= {f"/api/v1/shared/{{token}}{rest}" for rest in ("", "/model", "/download/{file_type}")}


@pytest.fixture(scope="module")
def document(idle: Api) -> dict:
    return httpx.get(f"{idle.url}/openapi.json").json()


def plain(path: str) -> str:
    """A path without the names of what is in it, but for those the contract gives."""
    path = path.removeprefix("/api/v1")
    return re.sub(r"^/(projects|jobs)/\{\w+\}", r"/\1/{id}", path)


def operations(document: dict) -> dict[tuple[str, str], dict]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def body_of(document: dict, operation: dict) -> dict:
    """The schema of a request's body."""
    content = operation.get("requestBody", {}).get("content", {})
    for body in content.values():
        schema = body["schema"]
        name = schema.get("$ref", "").rpartition("/")[2]
        return dict(document["components"]["schemas"][name] if name else schema)
    return {"properties": {}}


def test_every_endpoint_of_the_contract_is_there(document: dict) -> None:
    ours = operations(document)
    assert set(CONTRACT) <= {(method, plain(path)) for method, path in ours}
    assert all(path.startswith("/api/v1/") for _, path in ours if path not in OPERATIONS)


def test_a_client_of_the_contract_alone_can_call_them(document: dict) -> None:
    """What we add to them may be left out."""
    for (method, path), operation in operations(document).items():
        if (method, plain(path)) not in CONTRACT:
            continue
        query, fields = CONTRACT[(method, plain(path))]
        parameters = [p for p in operation.get("parameters", []) if p["in"] != "path"]
        assert {p["name"] for p in parameters if p["in"] == "query"} >= query, path
        assert not [p["name"] for p in parameters if p.get("required") and p["name"] not in query], path
        body = body_of(document, operation)
        assert set(body["properties"]) >= fields, path
        assert set(body.get("required", [])) <= fields, path
        for parameter in parameters:
            if parameter["name"] in ("skip", "limit"):
                assert parameter["schema"]["default"] == {"skip": 0, "limit": 100}[parameter["name"]]


def test_every_operation_is_described(document: dict) -> None:
    for (method, path), operation in operations(document).items():
        assert operation["summary"], path
        assert operation["description"], path
        for status, response in operation["responses"].items():
            if status.startswith(("4", "5")):
                name = response["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                assert "detail" in document["components"]["schemas"][name]["properties"], (path, status)
        assert {"422", "429", "500"} <= set(operation["responses"]), path
        public = path in PUBLIC
        may_refuse = not public or path in LOGINS or path in ("/ready", "/metrics")
        assert ("401" in operation["responses"]) == may_refuse, path
        assert bool(operation.get("security")) == (not public), (method, path)


def test_every_schema_has_examples(document: dict) -> None:
    for name in ("Register", "User", "Token", "ProjectCreate", "Project", "Job", "Logs", "VideoUploaded"):
        for field, schema in document["components"]["schemas"][name]["properties"].items():
            known = {"examples", "default", "const", "enum"} & set(schema)
            assert known, (name, field)


def test_the_docs_page_can_log_in(document: dict, idle: Api) -> None:
    assert httpx.get(f"{idle.url}/docs").status_code == 200
    (scheme,) = document["components"]["securitySchemes"].values()
    assert scheme["flows"]["password"]["tokenUrl"] == "/api/v1/auth/token"


def test_the_list_above_is_the_contracts() -> None:
    text = PAGE.read_text()
    assert set(re.findall(r"^#### (GET|POST|PUT|DELETE) (\S+)$", text, re.M)) == set(CONTRACT)
    for section in text.split("#### ")[1:]:
        method, path = section.split("\n")[0].split(" ")
        query = section.partition("**Query Parameters:**")[2].partition("**")[0].partition("###")[0]
        assert set(re.findall(r"^- `(\w+)`", query, re.M)) == CONTRACT[(method, path)][0]


def test_documented_answers_in_the_contract_have_our_fields(document: dict) -> None:
    schemas = document["components"]["schemas"]
    for heading, name in (
        ("POST /auth/register", "User"),
        ("POST /auth/token", "Token"),
        ("GET /auth/me", "User"),
        ("GET /projects", "Project"),
        ("POST /files/upload/video", "VideoUploaded"),
    ):
        section = PAGE.read_text().split(f"#### {heading}\n")[1].partition("####")[0]
        answer = section.partition("**Response:**")[2]
        assert set(re.findall(r'^\s*"(\w+)":', answer, re.M)) == set(schemas[name]["properties"]), heading
