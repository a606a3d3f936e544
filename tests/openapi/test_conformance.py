"""The running service against its own document: whatever is asked, it answers as it says."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from tests.openapi.conftest import carry_out, document, plan
from tests.openapi.driver import Outcome
from tests.world import World

METHODS = ("get", "post", "delete")


def show(outcomes: list[Outcome]) -> None:
    """What was asked how often, for whoever runs with -s."""
    for outcome in outcomes:
        print(f"{outcome.took_s:.1f} s")  # noqa: T201
        for label, answers in sorted(outcome.answers.items()):
            print(f"{sum(answers.values()):5} {label} {dict(sorted(answers.items()))}")  # noqa: T201


def check(outcomes: list[Outcome]) -> None:
    show(outcomes)
    assert [each for outcome in outcomes for each in outcome.failures] == []
    users, strangers, orders, operators = (each.answers for each in outcomes)
    # It would prove nothing if nothing was let in.
    let_in = {
        label: each for label, each in users.items() if label.startswith(("GET", "POST /api/f"))
    }
    reads = ("POST /ops/api/overview", "POST /ops/api/jobs.list", "POST /ops/api/inbox.list")
    let_in |= {label: operators[label] for label in reads}
    assert {label for label, each in let_in.items() if not each.get("200")} == set()
    assert users["DELETE /api/library/{jobId}"].get("204")
    assert strangers["GET /api/credits"].keys() <= {"401", "405"}, "405: another method tried"
    accepted = sum(each.get("202", 0) for each in orders.values())
    assert accepted > 0, orders


@pytest.mark.thorough
@pytest.mark.timeout(240)
async def test_it_answers_as_its_document_says(service: World) -> None:
    """Examples, edges of every parameter, random bodies, and orders followed to their end."""
    drives = await plan(service, "conformance@openapi.example", 10)
    users, strangers, orders, operators = drives
    every = [*users.phases, "fuzzing"]
    check(
        await carry_out(
            [
                replace(users, phases=every),
                replace(strangers, phases=every),
                orders,
                replace(operators, phases=every),
            ]
        )
    )


async def test_nobody_is_let_in_without_a_sign_in(service: World) -> None:
    found = {}
    for method, path, operation in await operations(service):
        if operation["security"] and {} not in operation["security"]:
            answer = await without_sign_in(service, method, path)
            found[f"{method} {path}"] = answer.status_code
    assert len(found) > 20
    assert set(found.values()) == {401}, found


async def operations(world: World) -> list[tuple[str, str, dict[str, list[dict[str, object]]]]]:
    return list(_operations((await document(world))["paths"]))


def _operations(
    paths: dict[str, dict[str, dict[str, list[dict[str, object]]]]],
) -> Iterator[tuple[str, str, dict[str, list[dict[str, object]]]]]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            assert method in METHODS
            yield method, path, operation


async def without_sign_in(world: World, method: str, path: str) -> httpx.Response:
    headers = {"Content-Type": "application/json"} if method == "post" else {}
    filled = path.replace("{token}", "x").replace("{jobId}", "x")
    return await world.http.request(method, filled, headers=headers)
