"""fal-video doctor: quiet about what works, one failing line for one mistake, with its mending."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from service.commands.doctor import examined, failed, report_text, report_view
from service.commands.local import free_port
from service.doctor.checks import Case, Check, Level, Verdict, examine, ok
from service.doctor.database import check_database
from service.doctor.storage import RoundTrip
from service.settings import Needs, Settings, judge_settings
from tests.doctor.conftest import Place
from tests.doctor.proxies import TLS
from tests.transfer.servers import Fault

Verdicts = dict[str, Verdict]
Break = Callable[[Place], AbstractAsyncContextManager[None]]


def lines(verdicts: Verdicts, level: Level) -> dict[str, str]:
    """What is said at that level, and how it is mended."""
    return {
        name: f"{each.seen} | {each.fix}" for name, each in verdicts.items() if each.level is level
    }


def tell_nothing_secret(verdicts: Verdicts, environment: dict[str, str]) -> None:
    said = report_text(verdicts) + json.dumps(report_view(verdicts))
    for name, value in environment.items():
        if name.endswith(("_KEY", "_SECRET", "_TOKEN", "_PASSWORD")) and value not in {"", "root"}:
            assert value not in said, name
    assert "canary." not in said
    assert "Signature" not in said


async def test_a_configuration_that_works_has_no_failing_line_and_leaves_nothing_behind(
    place: Place,
) -> None:
    store = place.world.runtime.store.database
    tables = "RETURN [count((SELECT id FROM inbox)), count((SELECT id FROM account))]"
    before = await store.read(tables)
    verdicts = await examined(place.environment)
    assert lines(verdicts, Level.FAIL) == lines(verdicts, Level.SKIPPED) == {}
    assert lines(verdicts, Level.WARN).keys() == {"identity"}, "the tests sign in as root"
    assert not failed(verdicts)
    tell_nothing_secret(verdicts, place.environment)
    assert await store.read(tables) == before
    bucket = f"{place.world.sandbox.s3_url}/{place.world.sandbox.bucket}?prefix=doctor/"
    assert "<Key>" not in (await place.world.http.get(bucket)).text
    assert len(report_text(verdicts).splitlines()) == len(verdicts) + 1


# What is set differently, the one line that fails, what it saw, how it is mended.
MISTAKES = [
    ({"FAL_KEY": "other:key"}, "fal key", "fal answered 401", "correct FAL_KEY"),
    ({"R2_BUCKET": "nowhere"}, "bucket", "put: NoSuchBucket", "make the bucket nowhere"),
    ({"PUBLIC_BASE_URL": "redirecting"}, "webhook", "redirects", "answer POST"),
    ({"SURREALDB_DATABASE": "unmigrated"}, "migrations", "not applied", "run fal-video migrate"),
    ({"FAL_USER_ID": "somebody-else"}, "deliveries", "sandbox-1234", "correct FAL_USER_ID"),
    (
        {"FAL_KEY": "", "R2_BUCKET": "", "PUBLIC_BASE_URL": "ftp://x"},
        "settings",
        "PUBLIC_BASE_URL must be an http:// or https:// address; FAL_KEY is required; R2_BUCKET",
        ".env.example",
    ),
]
# For CI: each proxy is judged every day in test_canary.py already.
MORE: list[tuple[dict[str, str], str, str, str]] = [
    ({"PUBLIC_BASE_URL": "small body limit"}, "webhook", "413", "client_max_body_size"),
    ({"PUBLIC_BASE_URL": "rewriting bodies"}, "webhook", "changed", "signs the bytes"),
    ({"PUBLIC_BASE_URL": "wrong host, 404"}, "webhook", "another service", "point PUBLIC"),
    ({"R2_ENDPOINT_URL": "nobody"}, "bucket", "put: ", "correct R2_ENDPOINT_URL"),
    ({"R2_PUBLIC_BASE_URL": "wrong host, 404"}, "public address", "404", "connect that"),
    ({"PUBLIC_BASE_URL": "redirecting the slash"}, "webhook", "slash", "answer POST"),
    ({"PUBLIC_BASE_URL": TLS}, "webhook", "certificate", "public authority"),
    ({"SURREALDB_PASSWORD": "wrong"}, "database", "sign-in is refused", "SURREALDB_PASSWORD"),
    ({"SURREALDB_URL": "nobody"}, "database", "cannot open", "start the database"),
    ({"FAL_JWKS_URL": "nobody"}, "key set", "no answer", "correct FAL_JWKS_URL"),
    ({"FAL_RESULT_HOSTS": "https://fal.media"}, "result hosts", "https://", "with commas"),
    (
        {"AUTH_JWT_SECRET": "", "AUTH_JWKS_URL": "wrong host, 404"},
        "sign-in",
        "answers 404",
        "correct AUTH_JWKS_URL",
    ),
]


@pytest.mark.parametrize(
    ("changes", "line", "seen", "fix"),
    [*MISTAKES, *(pytest.param(*each, marks=pytest.mark.thorough) for each in MORE)],
    ids=[
        " ".join(f"{name}={value}" for name, value in each[0].items()) for each in MISTAKES + MORE
    ],
)
async def test_one_mistake_is_one_failing_line(
    place: Place, changes: dict[str, str], line: str, seen: str, fix: str
) -> None:
    environment = place.environment | {
        name: meant(place, name, value) for name, value in changes.items()
    }
    verdicts = await examined(environment)
    assert lines(verdicts, Level.FAIL).keys() == {line}
    assert re.search(seen, verdicts[line].seen)
    assert fix in verdicts[line].fix
    for skipped in lines(verdicts, Level.SKIPPED).values():
        assert skipped.startswith("needs ")
    tell_nothing_secret(verdicts, environment)


def meant(place: Place, name: str, value: str) -> str:
    """An address in place of a word for it."""
    if value in place.proxies:
        return place.proxies[value]
    if value == "nobody":
        scheme = "ws" if name == "SURREALDB_URL" else "http"
        return f"{scheme}://127.0.0.1:{free_port()}"
    return value


@asynccontextmanager
async def refused_bucket(place: Place) -> AsyncIterator[None]:
    place.bucket_way.faults.append(Fault(".", "403 InvalidAccessKeyId", times=1_000))
    try:
        yield
    finally:
        place.bucket_way.forget()


@asynccontextmanager
async def read_only_bucket(place: Place) -> AsyncIterator[None]:
    place.bucket_way.faults.append(Fault("^(PUT|POST|DELETE)", "403 AccessDenied", times=1_000))
    try:
        yield
    finally:
        place.bucket_way.forget()


@asynccontextmanager
async def told(place: Place, path: str, on: object, off: object) -> AsyncIterator[None]:
    """The sandbox is told something while the body runs."""
    control = f"{place.world.sandbox.fal_url}/sandbox/{path}"
    (await place.world.http.post(control, json=on)).raise_for_status()
    try:
        yield
    finally:
        await place.world.http.post(control, json=off)


@pytest.mark.parametrize(
    ("fault", "line", "seen", "fix"),
    [
        (refused_bucket, "bucket", "InvalidAccessKeyId", "R2_ACCESS_KEY_ID"),
        pytest.param(
            read_only_bucket,
            "bucket",
            "AccessDenied",
            "Object Read & Write",
            marks=pytest.mark.thorough,
        ),
        (
            lambda place: told(place, "jwks", {"fault": "down"}, {"fault": None}),
            "key set",
            "answers 503",
            "correct FAL_JWKS_URL",
        ),
        pytest.param(
            lambda place: told(place, "jwks", {"fault": "wrong_kty"}, {"fault": None}),
            "key set",
            "no usable key",
            "correct FAL_JWKS_URL",
            marks=pytest.mark.thorough,
        ),
        (
            lambda place: told(place, "clock", {"ahead_s": 600}, {"ahead_s": 0}),
            "clock",
            r"fal is (59|60)\d s ahead of this machine, R2 is in step",  # on a busy machine
            "NTP",
        ),
    ],
    ids=["bucket refuses", "bucket is read-only", "key set down", "no key", "clock"],
)
async def test_one_fault_outside_is_one_failing_line(
    place: Place, fault: Break, line: str, seen: str, fix: str
) -> None:
    async with fault(place):
        verdicts = await examined(place.environment)
    assert lines(verdicts, Level.FAIL).keys() == {line}
    assert re.search(seen, verdicts[line].seen)
    assert fix in verdicts[line].fix
    tell_nothing_secret(verdicts, place.environment)


async def test_what_is_not_wrong_but_not_as_it_should_be_is_a_warning(place: Place) -> None:
    """A clock half a minute off, no pinned account, no web process yet, no tokens."""
    changes = {
        "FAL_USER_ID": "",
        "OPS_TOKEN": "",
        "PUBLIC_BASE_URL": f"http://127.0.0.1:{free_port()}",
    }
    async with told(place, "clock", {"ahead_s": -90}, {"ahead_s": 0}):
        verdicts = await examined(place.environment | changes)
    warned = lines(verdicts, Level.WARN)
    assert warned.keys() == {"identity", "account", "operators", "clock", "webhook"}
    assert not failed(verdicts)
    assert re.search(r"fal is (89|9\d) s behind this machine", warned["clock"])
    assert "start fal-video web" in warned["webhook"]
    assert "signed for sandbox-1234" in verdicts["deliveries"].seen


async def test_a_store_that_overwrites_what_is_there_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some stand-ins for R2 do: then two finalisers of one job could both write."""
    upload = RoundTrip._upload

    async def overwriting(trip: RoundTrip, key: str, body: bytes) -> None:
        await trip.bucket.delete(key)
        await upload(trip, key, body)

    monkeypatch.setattr(RoundTrip, "_upload", overwriting)
    verdicts = await examined(place.environment)
    assert "has been overwritten" in lines(verdicts, Level.FAIL)["bucket"]


async def test_production_keeps_nothing_in_memory() -> None:
    for environment, level in (("production", Level.FAIL), ("development", Level.WARN)):
        settings, _ = judge_settings(
            {"SURREALDB_URL": "mem://", "ENVIRONMENT": environment}, Needs.DATABASE
        )
        verdict = await check_database(case(settings))
        assert verdict.level is level


async def test_checks_run_beside_each_other_and_none_hides_another() -> None:
    """One never ends, one breaks, one waits for the one that broke."""
    met = asyncio.Event()

    async def endless(_: Case) -> Verdict:
        met.set()
        await asyncio.Event().wait()
        return ok("never")

    async def breaks(_: Case) -> Verdict:
        await met.wait()
        raise ZeroDivisionError

    async def fine(_: Case) -> Verdict:
        await met.wait()
        return ok("fine")

    found = await examine(
        case(Settings()),
        [
            Check(name="breaks", act=breaks),
            Check(name="needy", act=fine, needs=("breaks",)),
            Check(name="fine", act=fine),
            Check(name="endless", act=endless, deadline_s=0.5),
        ],
    )
    assert {name: each.level.value for name, each in found.items()} == {
        "breaks": "fail",
        "needy": "skipped",
        "fine": "ok",
        "endless": "fail",
    }
    assert found["needy"].seen == "needs breaks"
    assert "ZeroDivisionError" in found["breaks"].seen


def case(settings: Settings) -> Case:
    return Case(settings=settings, closing=AsyncExitStack())


# Starting is what takes long: one process for a good configuration and for none at all.
TWICE = """
import json, os, sys
from service.__main__ import main
print(main(["doctor", "--json"]))
os.environ.clear()
os.environ["SURREALDB_URL"] = sys.argv[1]
print(main(["doctor"]))
"""


@pytest.mark.thorough
async def test_the_command_says_the_same_to_people_and_programs_and_by_its_exit_code(
    place: Place, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", TWICE, f"surrealkv://{tmp_path}/none"),
        env={**os.environ, **place.environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    report, _, words = out.decode().partition("\n0\n")
    assert json.loads(report)["passed"] is True
    settings, *others, _, code = words.splitlines()
    assert code == "1"
    for name in ("FAL_KEY", "PUBLIC_BASE_URL", "R2_BUCKET", "AUTH_JWT_SECRET"):
        assert f"{name} is required" in settings
    assert any(each.startswith("skipped  webhook") for each in others)
    assert not (tmp_path / "none").exists(), "looking makes no database"
