"""Submissions that go wrong, and the three ways to ask for it."""

import httpx
import pytest

from service.sandbox.fault_book import FaultBook, Rule, submission
from service.sandbox.faults import (
    MEANINGS,
    Fault,
    FaultPlan,
    UnknownFaultError,
    describe,
    from_prompt,
    parse,
)
from tests.sandbox.fal_user import KLING, FalUser

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_dropped_answer_leaves_an_accepted_request(user: FalUser) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await user.submit("submit_drop")

    [webhook] = await user.inbox.webhooks()
    [one] = await user.requests()
    assert webhook.headers["x-fal-webhook-request-id"] == one["request_id"]


async def test_a_proxys_502_leaves_an_accepted_request(user: FalUser) -> None:
    answer = await user.submit("submit_502")

    assert answer.status_code == 502
    assert "nginx" in answer.text
    assert "x-fal-request-id" not in answer.headers
    await user.inbox.webhooks()


async def test_a_slow_answer_leaves_an_accepted_request_to_the_impatient(user: FalUser) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await user.http.post(
            f"/{KLING}",
            json={"prompt": "#sandbox:submit_slow=60", "image_url": user.image_url},
            timeout=httpx.Timeout(10, read=0.5),
        )

    assert (await user.counts())["accepted"] == 1


async def test_a_submission_can_be_accepted_twice(user: FalUser) -> None:
    handle = await user.accepted("double_accept")

    webhooks = await user.inbox.webhooks(2)

    ids = {each.headers["x-fal-webhook-request-id"] for each in webhooks}
    assert len(ids) == 2
    assert handle["request_id"] in ids
    assert (await user.counts())["accepted"] == 2


@pytest.mark.parametrize("status", [401, 403, 422, 429, 503])
async def test_a_refused_submission_is_not_accepted_and_its_retry_is(
    user: FalUser, status: int
) -> None:
    first = await user.submit(f"submit_{status}")
    assert first.status_code == status
    assert first.json()["detail"]
    assert await user.requests() == []

    again = await user.submit(f"submit_{status}")

    assert again.status_code == 200
    assert (await user.counts())["accepted"] == 1


async def test_refusals_are_counted_per_submission_whatever_its_signature(user: FalUser) -> None:
    async def submitted(prompt: str, image: str) -> int:
        url = f"{user.image_url}{image}"
        return (await user.submit("submit_429=2", prompt=prompt, image_url=url)).status_code

    assert [await submitted("dog", "?signature=1"), await submitted("cat", "")] == [429, 429]
    assert [await submitted("dog", "?signature=2"), await submitted("cat", "")] == [429, 429]
    assert [await submitted("dog", "?signature=3"), await submitted("cat", "")] == [200, 200]


async def test_a_rule_hits_the_next_matching_submissions_only(user: FalUser) -> None:
    await user.control("faults", {"match": "kling", "faults": "error=502, drop", "times": 2})
    for endpoint in (None, KLING, KLING, KLING):
        options = {"endpoint": endpoint, "duration": "5"} if endpoint else {}
        await user.accepted(**options)

    faults = [each["faults"] for each in await user.requests()]

    assert faults == ["", "error=502,drop", "error=502,drop", ""]


async def test_a_rule_without_match_refuses_whoever_comes_next(user: FalUser) -> None:
    await user.control("faults", {"match": None, "faults": "submit_503=2"})

    statuses = [(await user.submit()).status_code for _ in range(3)]

    assert statuses == [503, 503, 200]


async def test_a_prompt_can_ask_for_faults(user: FalUser) -> None:
    handle = await user.accepted(prompt="A dog #sandbox:refuse,delay=0.1 in the park")

    done = await user.completed(handle)

    assert done["error_type"] == "content_policy_violation"
    assert done["metrics"]["inference_time"] >= 0.1


async def test_unknown_faults_are_refused_wherever_they_are_asked(user: FalUser) -> None:
    in_header = await user.submit("dorp")
    in_prompt = await user.submit(prompt="#sandbox:dorp")
    in_rule = await user.http.post("/sandbox/faults", json={"faults": "dorp"})

    assert (in_header.status_code, in_prompt.status_code, in_rule.status_code) == (422, 422, 400)
    assert "unknown fault 'dorp'" in in_prompt.json()["detail"][0]["msg"]
    assert (await user.counts())["accepted"] == 0


async def test_every_fault_is_described(user: FalUser) -> None:
    assert set(MEANINGS) == set(Fault)
    shown = (await user.http.get("/sandbox/faults")).json()
    assert shown == describe()
    assert shown["delay=SECONDS"]


@pytest.mark.parametrize(
    "text", ["late", "drop=1", "late=soon", "late=-1", "late=1e9", "bytes=nan"]
)
async def test_a_wrong_value_is_refused(text: str) -> None:
    with pytest.raises(UnknownFaultError):
        parse(text)


async def test_a_plan_reads_what_it_prints() -> None:
    plan = parse(" drop , delay=2.5,duplicate, bytes=500000000,")

    assert str(plan) == "drop,delay=2.5,duplicate=2,bytes=500000000"
    assert parse(str(plan)) == plan
    assert from_prompt("a #sandbox:drop b #sandbox:late=1") == parse("drop,late=1")
    assert parse("") == FaultPlan()


async def test_a_rule_is_used_up_and_a_cleared_book_knows_none() -> None:
    book = FaultBook()
    book.add(Rule(match=None, plan=parse("drop")))
    book.add(Rule(match=None, plan=parse("early")))
    tried = submission("e", "p", "http://host/image?x=1")

    assert str(book.decide(tried, FaultPlan()).plan) == "drop"
    book.clear()
    assert str(book.decide(tried, FaultPlan()).plan) == ""
