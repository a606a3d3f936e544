"""One service for all tests here, and what Schemathesis is told of it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from service.domain.seal import Sealed, seal
from service.sandbox.object_store import ObjectStore
from tests.loops import share_loop
from tests.openapi.driver import COLOURS, Drive, Outcome
from tests.web.deliveries import SEED, silent_job
from tests.world import SEAL_KEY, TINY, World, open_world, token

ROOT = Path(__file__).parents[2]
OPS_TOKEN = "a token for operators that is long enough to be taken"
EXAMPLE_ID = "v00000000000000000000000000"
DRIVE_S = 200.0  # a bound, not an expectation


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for this directory, as its service serves all of its tests."""
    share_loop(items, Path(__file__).parent)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def service(s3: ObjectStore) -> AsyncIterator[World]:
    """A service with every door open, whose fal signs with a key the tests know."""
    async with open_world(
        s3,
        sandbox=replace(TINY, signing_seed=SEED, bucket="openapi"),
        OPS_TOKEN=OPS_TOKEN,
        MAX_SUBMISSIONS_PER_MINUTE="10000",
    ) as opened:
        yield opened


async def document(world: World) -> dict[str, Any]:
    answer = await world.http.get("/openapi.json")
    found: dict[str, Any] = answer.json()
    return found


def closed(served: dict[str, Any], job_id: str, deletable: str) -> dict[str, Any]:
    """The document as the code means it today: its answers have these fields and no others.

    The one served leaves room for new ones. What is an example there is a real job here.
    """
    made: dict[str, Any] = json.loads(json.dumps(served).replace(EXAMPLE_ID, job_id))
    made["paths"]["/api/library/{jobId}"]["delete"]["parameters"][0]["example"] = deletable
    for schema in made["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return made


def possible(strict: dict[str, Any]) -> dict[str, Any]:
    """Only orders that can be carried out, which chance makes none of, and what follows them."""
    made = deepcopy(strict)
    order = made["components"]["schemas"]["Order"]
    order["properties"] = {
        "templateSlug": {"const": "night-life-roller"},
        "variables": {
            "type": "object",
            "properties": {"BRAND": {"type": "string", "pattern": "^[A-Z][a-z]{1,20}$"}},
            "required": ["BRAND"],
            "additionalProperties": False,
        },
        "provider": {"enum": ["seedance", "kling2_5"]},
        "duration": {"const": 5},
    }
    order["required"] = ["templateSlug", "variables"]
    for each in made["paths"]["/api/templates/video/status"]["get"]["parameters"]:
        if each["name"] == "wait":
            each["schema"] = {"type": "integer", "enum": [0, 1]}  # up to 25 s each, otherwise
    return made


def all_but(whole: dict[str, Any], prefix: str) -> dict[str, Any]:
    paths = {path: each for path, each in whole["paths"].items() if not path.startswith(prefix)}
    return whole | {"paths": paths}


def only(whole: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Of the document what is below `prefix`."""
    paths = {path: each for path, each in whole["paths"].items() if path.startswith(prefix)}
    return whole | {"paths": paths}


async def plan(world: World, email: str, examples: int) -> list[Drive]:
    """As owners and fal; as strangers; orders that come to something; as an operator."""
    await world.grant(800, email)
    jobs = [await _finished_job(world, email) for _ in range(2)]
    strict = closed(await document(world), *jobs)
    signed_in = await world.http.post("/ops/session", json={"token": OPS_TOKEN})
    assert signed_in.status_code == 204, signed_in.text
    await world.grant(100, f"silent-{email}")
    silent = await silent_job(world, f"silent-{email}")
    url, bearer = str(world.http.base_url), token(email)
    users = Drive(
        url=url,
        document=all_but(strict, "/ops/"),
        phases=["examples", "coverage"],
        examples=examples,
        bearer=bearer,
        fal_key=SEED.hex(),
        fal_token=seal(SEAL_KEY.encode(), Sealed(silent.job_id, 1)),
    )
    strangers = replace(users, phases=["examples"], bearer=None, fal_key=None)
    orders = replace(users, document=only(possible(strict), "/api/"), phases=["stateful"])
    operators = Drive(
        url=url,
        document=only(strict, "/ops/"),
        phases=["examples"],
        examples=examples,
        operator=signed_in.headers["set-cookie"].partition(";")[0],
    )
    # An operator may pause what orders need, and comes last for that.
    return [users, strangers, orders, operators]


async def carry_out(drives: Sequence[Drive]) -> list[Outcome]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.openapi.driver",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        async with asyncio.timeout(DRIVE_S):
            given = json.dumps([asdict(each) for each in drives]).encode()
            said, _ = await process.communicate(given)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    return [Outcome(**each) for each in json.loads(said)]


async def _finished_job(world: World, email: str) -> str:
    job_id = await world.submit(email=email, brand=COLOURS[0])
    await world.until(job_id, "completed", email=email)
    return job_id
