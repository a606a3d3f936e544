"""Pages of jobs: complete, newest first, the owner's own; and templates."""

from datetime import UTC, datetime

import pytest

from service.adapters.rows import account_record, job_record
from service.adapters.store import SurrealStore
from service.domain.errors import NotFound
from service.domain.templates import Template
from tests.store import bench
from tests.store.bench import OWNER

BEN = "ben@example.com"


async def listed(store: SurrealStore, size: int) -> list[str]:
    """Every job of the owner, page by page; more pages than there are rows is a failure."""
    seen: list[str] = []
    before = None
    while page := await store.jobs(OWNER, before=before, limit=size):
        seen += [job.id for job in page]
        before = page[-1].id
        assert len(seen) <= 20
    return seen


async def test_pages_of_jobs_are_newest_first_complete_and_the_owners_own(
    store: SurrealStore,
) -> None:
    made = []
    for number in range(7):  # ids in the other order than times
        made.append(await bench.reserved_id(store, job_id=f"p{9 - number}"))
        await bench.reserved_id(store, job_id=f"b{number}", email=BEN)
    assert await listed(store, 3) == made[::-1]


@pytest.mark.parametrize("whose", ["nobody's", "another's"])
async def test_a_page_after_a_job_that_is_not_the_owners_is_not_found(
    store: SurrealStore, whose: str
) -> None:
    await bench.reserved_id(store)
    other = await bench.reserved_id(store, email=BEN)
    with pytest.raises(NotFound):
        await store.jobs(OWNER, before=other if whose == "another's" else "none", limit=3)


async def test_jobs_of_the_same_instant_are_all_listed(store: SurrealStore) -> None:
    """Jobs of the old system kept their time to the second, so many share one."""
    template = await bench.reserved_job(store)
    account = account_record(OWNER)
    moment = datetime(2025, 5, 1, 12, tzinfo=UTC)
    for number in range(5):
        await store.database.write(
            "CREATE $job SET account = $account, email = $email, state = 'failed', provider = 'x',"
            " template_id = 't', arguments = {}, duration_s = 0, credits = 0, taken_over = true,"
            " expected_render_s = 0, created_at = $moment",
            job=job_record(f"old{number}"),
            account=account,
            email=OWNER,
            moment=moment,
        )
    assert sorted(await listed(store, 2)) == sorted(
        [template.id, *(f"old{number}" for number in range(5))]
    )


async def test_templates_are_kept_and_an_operators_wording_stays(store: SurrealStore) -> None:
    mine = Template(
        slug="b-slug",
        title="T",
        prompt="{{A}}",
        provider="seedance",
        duration_s=5,
        options={"seed": 3, "deep": {"x": [1]}},
    )
    shipped = Template(slug="b-slug", title="S", prompt="s", provider="kling3", duration_s=3)
    other = Template(slug="a-slug", title="S", prompt="s", provider="kling3", duration_s=3)
    await store.save_template(mine)
    assert not await store.add_template(shipped)
    assert await store.template("b-slug") == mine
    assert await store.add_template(other)
    assert [each.slug for each in await store.templates()] == ["a-slug", "b-slug"]
    await store.save_template(shipped)
    assert await store.template("b-slug") == shipped
