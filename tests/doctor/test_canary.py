"""The canary: what it is sealed with, what its arrival touches, and what each bad proxy does."""

import json
import time

import pytest

from service.commands.local import free_port
from service.doctor import canary as sender
from service.doctor.canary import all_loads, fly, small_loads
from service.doctor.canary_answers import Way
from service.domain import canary
from service.domain.canary import LIFETIME_S, Arrival, Outcome
from service.domain.errors import NotAuthentic
from service.domain.seal import Sealed, seal, unseal
from tests.doctor.conftest import Place
from tests.doctor.proxies import TLS
from tests.transfer.servers import Fault
from tests.web.forms import check_problem
from tests.world import SEAL_KEY

KEY = SEAL_KEY.encode()
NONCE = "0123456789abcdef" * 2
SEEN = Arrival(sha256="ab" * 32, length=3, slash=True, headers={"content-type": "text/plain"})


def test_a_token_counts_for_five_minutes_and_only_with_our_key() -> None:
    token = canary.mint(KEY, NONCE, 1000.0)
    canary.check(KEY, token, 1000.0 + LIFETIME_S)
    with pytest.raises(NotAuthentic, match="expired"):
        canary.check(KEY, token, 1001.0 + LIFETIME_S)
    with pytest.raises(NotAuthentic, match="no valid token"):
        canary.check(b"another key", token, 1000.0)
    later = token.replace(".1300.", ".9999.")
    assert later != token
    with pytest.raises(NotAuthentic, match="no valid token"):
        canary.check(KEY, later, 1000.0)


@pytest.mark.parametrize("job_id", ["v-1", canary.KIND])
def test_no_job_s_token_passes_for_a_canary_nor_the_other_way_round(job_id: str) -> None:
    token = seal(KEY, Sealed(job_id, 1))
    assert not canary.is_canary(token)
    with pytest.raises(NotAuthentic):
        canary.check(KEY, token, 0)
    flying = canary.mint(KEY, NONCE, time.time())
    assert canary.is_canary(flying)
    with pytest.raises(NotAuthentic):
        unseal(KEY, flying)


def test_an_answer_is_believed_from_us_alone_and_for_its_own_token() -> None:
    token = canary.mint(KEY, NONCE, 0)
    answer = canary.sealed_answer(KEY, token, SEEN)
    rewritten = json.loads(json.dumps(answer, indent=3))
    assert canary.read_answer(KEY, token, rewritten) == SEEN
    assert canary.read_answer(KEY, canary.mint(KEY, NONCE, 1), answer) is None
    assert canary.read_answer(b"another key", token, answer) is None
    answer["canary"]["length"] = 4
    assert canary.read_answer(KEY, token, answer) is None
    others: list[object] = [{}, {"canary": {}, "mac": "é"}, [], None, {"canary": 1, "mac": ""}]
    for other in others:
        assert canary.read_answer(KEY, token, other) is None


async def test_its_arrival_stores_nothing_and_asks_the_database_nothing(place: Place) -> None:
    """Not even when the token is forged, or the body too large."""
    database, rows = place.world.runtime.store.database, "count((SELECT VALUE id FROM inbox))"
    before, calls = await database.read(f"RETURN {rows}"), database.calls
    finding = await fly(Way(base_url=url(place), seal_key=KEY), small_loads())
    assert finding.outcome is Outcome.PASSED, finding

    http, token = place.world.http, canary.mint(KEY, NONCE, time.time())
    path = f"/api/fal/webhook/{token}"
    forged = await http.post(f"{path[:-1]}{'0' if path[-1] != '0' else '1'}", content=b"{}")
    check_problem(forged, 401, "not_authentic")
    old = f"/api/fal/webhook/{canary.mint(KEY, NONCE, time.time() - LIFETIME_S - 2)}"
    check_problem(await http.post(old, content=b"{}"), 401, "not_authentic")
    large = b"x" * (place.world.settings.max_webhook_bytes + 1)
    check_problem(await http.post(path, content=large), 413, "too_large")

    assert database.calls == calls
    assert await database.read(f"RETURN {rows}") == before


async def test_a_way_without_faults_carries_every_body_by_both_forms_of_the_path(
    place: Place,
) -> None:
    for name in ("honest", "rewriting the slash"):
        loads = all_loads(place.world.settings.max_webhook_bytes)
        finding = await fly(Way(base_url=place.proxies[name], seal_key=KEY), loads)
        assert finding.outcome is Outcome.PASSED, finding
        assert ("rewritten" in finding.seen) == (name != "honest")


@pytest.mark.parametrize(
    ("mistake", "outcome", "seen"),
    [
        ("redirecting", "wrong", "(308) to https://www.elsewhere.example"),
        ("redirecting the slash", "wrong", "redirects a path with a slash at its end (301) to"),
        ("small body limit", "wrong", "(413)"),
        ("rewriting bodies", "wrong", "a delivery arrived changed: "),
        ("dropping a header", "wrong", "changed or gone: x-fal-webhook-signature"),
        ("changing a header", "wrong", "changed or gone: content-type"),
        ("wrong host, 404", "wrong", "another service answers a delivery at {host} (404, by ng"),
        ("wrong host, 200", "wrong", "another service answers a delivery at {host} (200, by ng"),
        ("asking for a sign-in", "wrong", "refuses a delivery (401, by nginx"),
        ("challenging", "wrong", "a CDN's challenge page (403)"),
        ("broken", "unknown", "answers a delivery with 500"),
        ("nobody behind it", "unknown", "answers 502: it reaches no web process"),
        ("closing", "unknown", "broke off at a delivery: RemoteProtocolError"),
        (TLS, "unknown", "its TLS certificate is refused: unable to get local issuer"),
    ],
)
async def test_a_mistake_on_the_way_is_named_with_its_mending(
    place: Place, mistake: str, outcome: str, seen: str
) -> None:
    way = Way(base_url=place.proxies[mistake], seal_key=KEY)
    finding = await fly(way, all_loads(place.world.settings.max_webhook_bytes))
    assert finding.outcome.value == outcome
    assert seen.format(host=way.host) in finding.seen
    assert finding.fix
    assert "canary." not in finding.seen, "a token is for those who have its seal"


async def test_without_an_answer_nothing_is_proven(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody at the address, no such name, a silent proxy, and one of ours with another seal."""
    nowhere = Way(base_url=f"http://127.0.0.1:{free_port()}", seal_key=KEY)
    refused = await fly(nowhere, small_loads())
    assert (refused.outcome, refused.absent) == (Outcome.UNKNOWN, True)
    assert "nobody listens" in refused.seen

    unnamed = await fly(Way(base_url="https://no.such.name.invalid", seal_key=KEY), small_loads())
    assert (unnamed.outcome, unnamed.absent) == (Outcome.UNKNOWN, False)
    assert "does not resolve" in unnamed.seen

    other = await fly(Way(base_url=url(place), seal_key=b"another key"), small_loads())
    assert other.outcome is Outcome.UNKNOWN
    assert "WEBHOOK_SEAL_KEY" in other.fix

    monkeypatch.setattr(canary, "mint", lambda key, nonce, _: canary_of_old(key, nonce))
    late = await fly(Way(base_url=url(place), seal_key=KEY), small_loads())
    assert (late.outcome, "clocks" in late.fix) == (Outcome.UNKNOWN, True)


def canary_of_old(key: bytes, nonce: str) -> str:
    return _mint(key, nonce, time.time() - LIFETIME_S - 5)


_mint = canary.mint


async def test_a_proxy_that_does_not_answer_in_fal_s_time_is_given_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "PATIENCE_S", 0.2)
    place.bucket_way.faults.append(silent := _silent())
    way = Way(base_url=f"http://127.0.0.1:{place.bucket_way.port}", seal_key=KEY)
    finding = await fly(way, small_loads())
    place.bucket_way.forget()
    assert (finding.outcome, silent.times) == (Outcome.UNKNOWN, 0)
    assert "no answer within 15 s" in finding.seen


def _silent() -> Fault:
    return Fault("POST /api/fal", "silent")


def url(place: Place) -> str:
    return f"http://127.0.0.1:{place.world.settings.port}"
