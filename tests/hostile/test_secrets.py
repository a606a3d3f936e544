"""Whatever happens, no secret is in the log: a real process meets all of it, then it is read."""

import asyncio
import json
import re
import sys

import jwt
import pytest

from tests.hostile.site import KEYS, Site
from tests.processes.running import ROOT
from tests.transfer.servers import Fault
from tests.web.deliveries import Signer, webhook_path, webhook_token
from tests.world import OWNER, SEAL_KEY, SECRET, eventually, token

STRANGER = "stranger.secret@example.net"
# What only ever stands in something secret, whoever made it.
SHAPES = {
    "a signed address": r"X-Amz-(Signature|Credential|Security-Token)",
    "a token of ours or of an issuer": r"eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]{5,}",
    "an e-mail address": r"[\w.+-]+@[\w-]+(\.[\w-]+)*\.(com|net|org|example)\b",
    "a webhook's token": r"v[0-9a-f]{26}\.[0-9]+\.[\w-]{43}",
    "an authorisation": r"(?i)\b(bearer|key) [\w.:-]{16,}",
    "a cookie": r"(?i)set-cookie|cookie:|session=\w",
}


async def finished(site: Site, brand: str, *wanted: str) -> str:
    job_id = await site.submit(brand)
    assert await site.until(job_id, *wanted) in wanted
    return job_id


async def logged(site: Site, *words: str) -> None:
    """Once a line of the log holds all of these."""

    async def look() -> bool | None:
        lines = site.log.read_text("utf-8", "replace").splitlines()
        return any(all(each in line for each in words) for line in lines) or None

    await eventually(look, 45)


async def bad_sign_ins(site: Site) -> None:
    stranger = jwt.encode({"email": STRANGER}, "x" * 40, "HS256")
    expired = token(STRANGER, exp=1)
    paths = ("/api/credits", "/api/session", "/api/templates/video/status?jobId=v1", "/ops/api/x")
    for path in paths:
        for each in (stranger, expired, "garbage", KEYS["OPS_TOKEN"][:-1] + "x"):
            await site.http.get(path, headers={"Authorization": f"Bearer {each}"})
            await site.http.get(path, headers={"Cookie": f"session={each}; ops={each}"})
    for method in ("POST", "PUT", "DELETE"):
        await site.http.request(method, "/api/session", headers=site.headers(STRANGER))
        await site.http.request(method, "/ops/session", json={"token": KEYS["OPS_TOKEN"]})
    # In an address, where they do not belong.
    for secret in (token(STRANGER), KEYS["OPS_TOKEN"]):
        await site.http.get("/api/credits", params={"access_token": secret})
        await site.http.get(f"/nothing/{secret}")
    await site.http.get("/metrics", headers={"Authorization": f"Bearer {KEYS['METRICS_TOKEN']}"})


async def bad_deliveries(site: Site, job_id: str) -> None:
    body = b'{"status": "OK", "payload": {"video": {"url": "https://u:pw@fal.media/x?X-Amz-S=1"}}}'
    good = Signer().headers(body, request_id="secret-1")
    paths = [webhook_path(job_id), f"/api/fal/webhook/{webhook_token(job_id)[:-1]}"]
    for path in [*paths, paths[0] + "/", paths[0] + "%0A", paths[0].upper(), "/" + paths[0]]:
        for headers in ({}, good | {"x-fal-webhook-user-id": STRANGER}):
            await site.http.post(path, content=body, headers=headers)
    poison = b"\xff not JSON " + STRANGER.encode()
    headers = Signer().headers(poison, request_id="secret-2")
    assert (await site.http.post(paths[0], content=poison, headers=headers)).status_code == 200
    huge = b"x" * (1024 * 1024 + 1)
    assert (await site.http.post(paths[0], content=huge, headers=good)).status_code == 413


async def store_fails(site: Site) -> None:
    """It does not answer, then it refuses: both end up in messages that could hold addresses."""
    for action, words in (("reset", "put_off"), ("403 AccessDenied", "put_off")):
        site.store.faults.append(Fault("library", action, 60))
        job_id = await site.submit("store-fails")
        await logged(site, job_id, words)
        site.store.forget()
    await logged(site, '"paused"', "finalising")


async def live_through_everything(site: Site) -> str:
    job_id = await finished(site, "succeeds", "completed")
    await finished(site, "#sandbox:refuse A", "failed")
    await finished(site, "#sandbox:submit_422 A", "failed")
    for plan in ("html", "truncated", "redirect_private", "file_503", "wrong_key", "tamper"):
        await site.submit(f"#sandbox:{plan} A")
    await bad_sign_ins(site)
    await bad_deliveries(site, job_id)
    await store_fails(site)
    await site.submit("#sandbox:submit_401 A")
    await logged(site, '"paused"', "submitting")
    return job_id


def secrets_of(site: Site, job_id: str) -> dict[str, str]:
    return {
        **KEYS,
        "the secret half of FAL_KEY": KEYS["FAL_KEY"].partition(":")[2],
        "WEBHOOK_SEAL_KEY": SEAL_KEY,
        "AUTH_JWT_SECRET": SECRET,
        "a webhook's seal": webhook_token(job_id).rpartition(".")[2],
        "the owner": OWNER,
        "a stranger": STRANGER,
    }


def leaks(text: str, secrets: dict[str, str]) -> dict[str, str]:
    """What was found, and the line in which it was."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        found |= {name: line for name, value in secrets.items() if value in line}
        found |= {name: line for name, shape in SHAPES.items() if re.search(shape, line)}
    return found


@pytest.mark.thorough
async def test_no_secret_and_nobodys_address_is_in_the_log_of_a_run_that_meets_everything(
    site: Site,
) -> None:
    """Success, refusals, keys refused, a broken store, forgeries and bad sign-ins."""
    job_id = await live_through_everything(site)
    text = site.log.read_text("utf-8", "replace")
    assert text.count("\n") > 20
    assert leaks(text, secrets_of(site, job_id)) == {}


RAISING = """
import logging, sys
from service.logs import configure_logging
configure_logging(sys.argv[1])
def act(secret: str) -> None:
    local = {"also": secret}
    raise RuntimeError("something broke")
try:
    act("local-variable-" + "secret")
except RuntimeError:
    logging.getLogger("service.x").exception("failed", extra={"job_id": "v1"})
"""


@pytest.mark.parametrize("form", ["json", "console"])
async def test_a_traceback_shows_no_variables(form: str) -> None:
    """They hold tokens, keys and signed addresses."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RAISING, form),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await child.communicate()
    assert b"something broke" in said
    assert b"local-variable-secret" not in said


def test_the_search_finds_what_it_looks_for() -> None:
    """Each shape, so that an empty result means something."""
    for example in (
        "https://r2/x?X-Amz-Signature=ab",
        token(),
        f"owner {OWNER}",
        f"POST /api/fal/webhook/v{'0' * 26}.1.{'A' * 43}",
        "Authorization: Key abc:def-ghi-jkl-mno-pqr",
        "session=eyJ",
    ):
        assert leaks(json.dumps({"event": example}), {}), example
    assert leaks(f"x {SECRET} y", {"s": SECRET})
