"""The document itself: valid, complete, about nothing that is not there, and cheap to serve."""

import ast
import json
import re
from pathlib import Path
from typing import Any, get_type_hints

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31
from starlette.routing import BaseRoute, Mount, Route

from service.domain import errors
from service.domain.errors import ServiceError
from service.operations.registry import OPERATIONS
from service.web.answers import JobView, LibraryItem
from service.web.described import Caller
from service.web.documented import DOCUMENTED
from service.web.openapi import codes, document
from service.web.pages import FRONTEND
from service.web.problems import STATUS
from tests.world import World

WEB = Path(__file__).parents[2] / "service" / "web"
# Ends a job or is tried again, inside of us: no request is ever answered with it.
INTERNAL = {
    "error",
    "source_gone",
    "source_refused",
    "source_too_large",
    "not_a_video",
    "object_conflict",
}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return document(DOCUMENTED)


def test_it_is_openapi_3_1_and_its_schemas_are_json_schema(made: dict[str, Any]) -> None:
    valid = jsonschema_rs.validator_for(OPENAPI_31)
    valid.validate(made)
    for schema in made["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    with pytest.raises(jsonschema_rs.ValidationError):
        valid.validate(made | {"info": {"title": "x"}})


def test_everything_it_refers_to_is_in_it(made: dict[str, Any]) -> None:
    followed = {name for each in DOCUMENTED for one in each.answers.values() for name in one.follow}
    assert followed <= {each.id for each in DOCUMENTED}
    references = re.findall(r'"#/([^"]+)"', json.dumps(made))
    assert references
    for reference in references:
        found: Any = made
        for step in reference.split("/"):
            found = found[step]
        assert found


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [each.id for each in DOCUMENTED]
    assert len(names) == len(set(names))


async def test_every_route_is_documented_and_nothing_else_is(service: World) -> None:
    """A parameter's name is nobody's business; one trailing slash is the same path."""
    real = {each for route in service.app.routes for each in _real(route)}
    said = {(each.method, _shape(each.path)) for each in DOCUMENTED}
    assert said - real == set(), "documented, but not there"
    assert real - said == set(), "there, but not documented"


def test_every_operation_of_the_registry_is_documented_by_its_own_models() -> None:
    described = {each.id: each for each in DOCUMENTED}
    for name, operation in OPERATIONS.items():
        found = described[name]
        assert found.body is not None
        assert (found.path, found.body.model) == (f"/ops/api/{name}", operation.takes)
        assert found.answers[200].model is get_type_hints(operation.run)["return"]
        assert found.caller is Caller.OPERATOR


def test_its_codes_are_those_of_the_errors_and_of_the_problems() -> None:
    raised = {
        each.code: each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, ServiceError)
    }
    written = {code for path in WEB.glob("*.py") for code in _codes_in(path)}
    assert set(codes(DOCUMENTED)) >= written
    assert set(codes(DOCUMENTED)) - written == set(raised) - INTERNAL - written
    assert {
        code for code, each in raised.items() if not issubclass(each, tuple(STATUS))
    } == INTERNAL


async def test_a_document_costs_no_read_and_is_not_sent_twice(service: World) -> None:
    first = await service.http.get("/openapi.json")
    assert first.headers["content-type"] == "application/json"
    calls = service.runtime.store.database.calls
    again = await service.http.get("/openapi.json")
    same = await service.http.get(
        "/openapi.json", headers={"If-None-Match": f'"x", {first.headers["etag"]}'}
    )
    assert service.runtime.store.database.calls == calls
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    assert (same.status_code, same.content) == (304, b"")
    assert first.json() == document(DOCUMENTED)


def test_the_client_has_a_field_for_each_of_a_jobs(made: dict[str, Any]) -> None:
    text = (FRONTEND / "video-client.d.ts").read_text("utf-8")
    assert _fields(text, "JobStatus") == set(JobView.__annotations__)
    assert _fields(text, "JobStatus") | _fields(text, "LibraryItem") == set(
        get_type_hints(LibraryItem)
    )
    for name, theirs in (("Receipt", "Receipt"), ("TemplateView", "Template")):
        ours = made["components"]["schemas"][name]["properties"]
        assert _fields(text, theirs) == set(ours), name


def _fields(text: str, interface: str) -> set[str]:
    found = re.search(rf"export interface {interface} [^{{]*{{(.*?)\n}}", text, re.DOTALL)
    assert found
    return set(re.findall(r"^  (\w+)\??:", found[1], re.MULTILINE))


def _real(route: BaseRoute) -> set[tuple[str, str]]:
    if isinstance(route, Mount):
        return {("GET", f"{route.path}/{{}}")}
    assert isinstance(route, Route)
    paths = [route.path]
    if route.path == "/ops/api/{name}":
        paths = [f"/ops/api/{name}" for name in OPERATIONS]
    methods = (route.methods or set()) - {"HEAD"}
    return {(method, _shape(path)) for path in paths for method in methods}


def _shape(path: str) -> str:
    return re.sub(r"{[^}]*}", "{}", path).removesuffix("/") or "/"


def _codes_in(path: Path) -> set[str]:
    """The codes that a module writes out: given to `problem`, or in problems.py's own tables."""
    tree = ast.parse(path.read_text("utf-8"))
    given = {
        call.args[1].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "problem"
        and isinstance(call.args[1], ast.Constant)
    }
    if path.name == "problems.py":
        tables = [
            each.value for each in tree.body if isinstance(each, ast.AnnAssign) and each.value
        ]
        values = {node for table in tables for node in ast.walk(table)}
        given |= {each.value for each in values if isinstance(each, ast.Constant)}
    return {each for each in given if isinstance(each, str) and re.fullmatch(r"[a-z_]+", each)}
