"""Taking over the old system's jobs: every row keeps its data, and running ones finish."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from surrealdb import RecordID

from service.adapters.audit_store import SurrealAuditStore
from service.adapters.migrate import find_migrations, migrate
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database
from service.adapters.surreal_errors import Rejected
from service.domain.job import JobState, Status
from service.domain.providers import PROVIDERS
from service.ports import Applied, Reserved, Settled
from tests.store import bench
from tests.store.bench import PRICE

Row = dict[str, Any]

SCHEMALESS = "DEFINE TABLE video_job SCHEMALESS;"
SCHEMAFULL = """
DEFINE TABLE video_job SCHEMAFULL;
DEFINE FIELD email ON video_job TYPE string;
DEFINE FIELD fal_request_id ON video_job TYPE option<string | null>;
DEFINE FIELD fal_model ON video_job TYPE option<string | null>;
DEFINE FIELD template_id ON video_job TYPE string;
DEFINE FIELD status ON video_job TYPE string;
DEFINE FIELD provider ON video_job TYPE string;
DEFINE FIELD metadata ON video_job TYPE option<object> FLEXIBLE;
DEFINE FIELD created_at ON video_job TYPE option<datetime>;
DEFINE INDEX video_job_request ON video_job FIELDS fal_request_id;
DEFINE INDEX video_job_email ON video_job FIELDS email, status;
"""
SEEDANCE = PROVIDERS["seedance"].endpoint
KLING = PROVIDERS["kling2_5"].endpoint
CREATED = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)


def old(status: Any = "processing", **fields: Any) -> Row:
    """A row as the old system wrote it; `...` leaves a field out."""
    row: Row = {
        "email": "Ana@Example.com",
        "fal_request_id": "r-1",
        "fal_model": SEEDANCE,
        "template_id": "night-life-roller",
        "status": status,
        "provider": "seedance",
        "created_at": CREATED,
        **fields,
    }
    return {name: value for name, value in row.items() if value is not ...}


async def take_over(
    database: Database, rows: Mapping[str | int, Row], schema: str = SCHEMALESS
) -> tuple[SurrealStore, list[str]]:
    await database.script(schema)
    for record_id, row in rows.items():
        # NULL is written as text: a None parameter would mean an absent field.
        nulls = "".join(f", {name} = NULL" for name, value in row.items() if value is None)
        values = {name: value for name, value in row.items() if value is not None}
        fields = ", ".join(f"{name} = $v_{name}" for name in values)
        await database.write(
            f"CREATE $record SET {fields}{nulls}",
            record=RecordID("video_job", record_id),
            **{f"v_{name}": value for name, value in values.items()},
        )
    lines: list[str] = []
    await migrate(database, find_migrations(), lines.append)
    return SurrealStore(database), lines


async def finish(store: SurrealStore, job_id: str, request_id: str) -> None:
    """What the reconciler does for a job that fal has rendered."""
    applied = await bench.rendered(store, job_id, request_id)
    assert applied is Applied.RENDERED
    job = await bench.leased(store, job_id)
    assert await bench.settle(store, job) is Settled.SETTLED


SHAPES: dict[str, tuple[str, dict[str | int, Row]]] = {
    "schemaless, complete": (
        SCHEMALESS,
        {"a1": old(), "a2": old("completed"), "a3": old("failed"), "a4": old("pending")},
    ),
    "schemafull with indexes": (
        SCHEMAFULL,
        {
            "a1": old(fal_model=..., metadata={"prompt": "x", "deep": {"list": [1, 2]}}),
            "a2": old("completed", fal_request_id="r-2"),
            "a3": old("pending", fal_model=None, fal_request_id="r-3", created_at=...),
        },
    ),
    "without fal_model": (
        SCHEMALESS,
        {
            "a1": old(fal_model=...),
            "a2": old(fal_model=None, provider="kling2_5"),
            "a3": old(fal_model="", provider="sora2_pro"),
            "a4": old("completed", fal_model=..., provider="sora2"),
        },
    ),
    "numeric ids": (SCHEMALESS, {1: old(), 22: old("completed"), 10**17: old("failed")}),
    "ISO text as time": (
        SCHEMALESS,
        {"a1": old(created_at="2025-03-04T05:06:07Z"), "a2": old(created_at=...)},
    ),
    "more fields than we know": (
        SCHEMALESS,
        {
            "a1": old(user_id=7, output={"url": "https://x"}, tags=["a"], metadata={"k": 1}),
            "a2": old("completed", r2_key="videos/1.mp4", metadata=None),
            "a3": old("failed", error="boom", metadata="just text"),
        },
    ),
    "no time at all": (SCHEMALESS, {"a1": old(created_at=...), "a2": old("x", created_at=...)}),
}
KEPT_AS_FIELDS = {"template_id", "provider", "email", "fal_request_id"}


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_row_keeps_its_data_field_by_field(empty: Database, shape: str) -> None:
    schema, rows = SHAPES[shape]
    store, _ = await take_over(empty, rows, schema)
    assert await empty.read("RETURN count(SELECT VALUE id FROM video_job)") == len(rows)
    for record_id, before in rows.items():
        after = await bench.row(store, str(record_id))
        metadata = after["metadata"]
        for name, value in before.items():
            if name in KEPT_AS_FIELDS:
                assert after[name] == value, name
            elif name == "fal_model":
                assert after[name] == (value or PROVIDERS[before["provider"]].endpoint)
            elif name == "created_at":
                assert after[name] == CREATED
            elif name == "metadata":
                kept = value if isinstance(value, dict) else {"metadata": value}
                assert value is None or kept.items() <= metadata.items()
            elif name != "status":
                assert metadata[name] == value, name
        assert after["taken_over"] is True


@pytest.mark.parametrize("shape", SHAPES)
async def test_running_rows_are_due_and_finish_for_no_credits(empty: Database, shape: str) -> None:
    schema, rows = SHAPES[shape]
    store, _ = await take_over(empty, rows, schema)
    running = {
        str(record_id): row
        for record_id, row in rows.items()
        if row["status"] not in {"completed", "failed"}
    }
    assert await bench.violations(store) == []
    due = await store.due_jobs(50, [1000.0])
    assert {job.id for job in due} == running.keys()
    for job in due:
        before = running[job.id]
        assert (job.state, job.status, job.credits) == (
            JobState.SUBMITTED,
            Status.PROCESSING,
            0,
        )
        assert job.submission is not None
        assert job.submission.request_id == before["fal_request_id"]
        assert job.submitted_at is not None
        await finish(store, job.id, before["fal_request_id"])
    assert sorted(await bench.settlements(store)) == [("capture", 0)] * len(running)
    assert await bench.credits_of(store) == (0, 0, 0, 0)
    assert await bench.violations(store) == []
    listed = await store.jobs("ana@example.com", before=None, limit=50)
    assert {job.status for job in listed if job.id in running} <= {Status.COMPLETED}


async def test_the_report_says_what_was_present_and_what_was_updated(empty: Database) -> None:
    rows: dict[str | int, Row] = {
        "a1": old(),
        "a2": old(fal_model=...),
        "a3": old(fal_model=None),
        "a4": old("completed"),
        "a5": old("failed"),
    }
    _, lines = await take_over(empty, rows)
    told = "\n".join(lines)
    assert "took over 5 jobs of the old system" in told
    assert "fal_model already present on 3, updated 2 records" in told
    assert lines[-1] == "fal_model already present on all 5 jobs"


async def test_a_row_whose_model_nobody_knows_is_not_reported_as_updated(empty: Database) -> None:
    rows: dict[str | int, Row] = {
        "a1": old(fal_model=..., provider="veo"),
        "a2": old(fal_model=...),
    }
    _, lines = await take_over(empty, rows)
    assert "updated 1 records" in "\n".join(lines)
    assert lines[-1] == "fal_model is missing on 1 of 2 jobs"


async def test_old_statuses_become_states(empty: Database) -> None:
    rows: dict[str | int, Row] = {
        "pending": old("pending"),
        "processing": old("processing"),
        "completed": old("completed"),
        "failed": old("failed"),
        "odd": old("queued-somewhere"),
        "none": old(status=...),
        "null": old(status=None),
    }
    store, _ = await take_over(empty, rows)
    states = {name: (await store.job(str(name))).state for name in rows}
    assert states == {
        "pending": JobState.SUBMITTED,
        "processing": JobState.SUBMITTED,
        "completed": JobState.READY,
        "failed": JobState.FAILED,
        "odd": JobState.SUBMITTED,
        "none": JobState.SUBMITTED,
        "null": JobState.SUBMITTED,
    }
    assert (await bench.row(store, "odd"))["metadata"] == {"status": "queued-somewhere"}
    failed = await store.job("failed")
    assert failed.error is not None


@pytest.mark.parametrize(
    "row",
    [
        old(fal_request_id=...),
        old(fal_request_id=None),
        old(fal_request_id=""),
        old(fal_model=..., provider="veo"),
        old(fal_model=..., provider=...),
    ],
    ids=["no request", "NULL request", "empty request", "unknown provider", "no provider"],
)
async def test_a_running_row_that_cannot_be_asked_about_waits_for_a_person(
    empty: Database, row: Row
) -> None:
    store, _ = await take_over(empty, {"a1": row})
    job = await store.job("a1")
    assert (job.parked, job.state) == (True, JobState.SUBMIT_UNKNOWN)
    assert await store.due_jobs(50, [1.0]) == []
    assert await bench.violations(store) == []
    assert await bench.close(store, "a1", JobState.CANCELLED) is Applied.CLOSED
    assert await bench.violations(store) == []


async def test_owners_that_differ_only_in_spelling_become_one_account(empty: Database) -> None:
    rows: dict[str | int, Row] = {
        "a1": old(email="Ana@Example.com"),
        "a2": old(email=" ana@example.com "),
        "a3": old(email=...),
    }
    store, _ = await take_over(empty, rows)
    accounts = await SurrealAuditStore(empty).audit_accounts()
    assert sorted(account.name for account in accounts) == [
        "ana@example.com",
        "unknown",
    ]
    listed = {job.id for job in await store.jobs("ANA@example.com", before=None, limit=9)}
    assert listed == {"a1", "a2"}


async def test_a_taken_over_owner_can_be_granted_credits_and_order(empty: Database) -> None:
    store, _ = await take_over(empty, {"a1": old(), "a2": old("completed")})
    await bench.grant(store, PRICE)
    assert await bench.reserve(store, bench.new_job()) is Reserved.RESERVED
    refused = bench.new_job()
    assert await bench.reserve(store, refused, max_in_flight=2) is Reserved.INSUFFICIENT
    assert await bench.violations(store) == []


async def test_after_the_takeover_an_unknown_field_is_refused(empty: Database) -> None:
    await take_over(empty, {"a1": old()}, SCHEMAFULL)
    with pytest.raises(Rejected, match="stranger"):
        await empty.write("UPDATE video_job SET stranger = 1")


async def test_a_second_run_takes_nothing_over_again(empty: Database) -> None:
    store, _ = await take_over(empty, {"a1": old(), "a2": old("completed")})
    before = await bench.row(store, "a1")
    await empty.write("DELETE schema_migration")
    lines: list[str] = []
    await migrate(empty, find_migrations(), lines.append)
    assert await bench.row(store, "a1") == before
    assert "no jobs of an old system" in "\n".join(lines)
    assert await bench.violations(store) == []


def test_the_migrations_models_are_the_providers_endpoints() -> None:
    folder = Path(__file__).parents[2] / "migrations"
    text = (folder / "0001_take_over.surql").read_text("utf-8")
    table = text.partition("LET $models = {")[2].partition("};")[0]
    models = dict(re.findall(r"(\w+): '([^']+)'", table))
    assert models == {name: provider.endpoint for name, provider in PROVIDERS.items()}


# ------------------------------------------------ what an old database may also look like


async def test_metadata_and_a_field_of_the_same_name_are_both_kept(empty: Database) -> None:
    row = old(prompt="of the row", metadata={"prompt": "of the metadata"})
    store, _ = await take_over(empty, {"a1": row})
    kept = str((await bench.row(store, "a1"))["metadata"])
    assert "of the row" in kept
    assert "of the metadata" in kept


async def test_the_time_of_the_last_change_is_kept(empty: Database) -> None:
    changed = datetime(2025, 4, 5, tzinfo=UTC)
    store, _ = await take_over(empty, {"a1": old("completed", updated_at=changed)})
    kept = await bench.row(store, "a1")
    assert changed in {kept["updated_at"], kept["metadata"].get("updated_at")}


@pytest.mark.parametrize(
    "created", ["2025-03-04T05:06:07", "2025-03-04 05:06:07", 1741064767, "4 March 2025"]
)
async def test_a_time_in_another_form_is_kept_in_some_form(
    empty: Database, created: str | int
) -> None:
    store, _ = await take_over(empty, {"a1": old("completed", created_at=created)})
    kept = await bench.row(store, "a1")
    assert kept["created_at"] == CREATED or created in kept["metadata"].values()


@pytest.mark.parametrize(
    ("definition", "row"),
    [
        ("fal_request_id ON video_job TYPE string", old(fal_request_id="")),
        ("fal_model ON video_job TYPE string", old(fal_model="", provider="veo")),
        ("created_at ON video_job TYPE string", old(created_at="2025-03-04T05:06:07Z")),
        ("status ON video_job TYPE string ASSERT $value IN ['pending', 'queued']", old("queued")),
        ("user_id ON video_job TYPE int", old(user_id=7)),
        ("updated_at ON video_job TYPE string", old(updated_at="2025-03-04T05:06:07Z")),
        ("created_at ON video_job TYPE datetime READONLY", old()),
        ("template_id ON video_job TYPE record<template>",
         old(template_id=RecordID("template", "night-life-roller"))),
    ],
    ids=["request", "model", "created text", "status", "unknown field", "updated text",
         "created readonly", "template record"],
)  # fmt: skip
async def test_what_an_old_schema_demanded_does_not_stop_the_takeover_or_new_jobs(
    empty: Database, definition: str, row: Row
) -> None:
    schema = f"{SCHEMALESS} DEFINE FIELD {definition};"
    store, _ = await take_over(empty, {"a1": row}, schema)
    assert (await store.job("a1")).email == "Ana@Example.com"
    assert (await bench.reserved_job(store)).state is JobState.RESERVED
    assert await bench.violations(store) == []
