"""fal, the clocks, sign-in, and the way to our webhook."""

import asyncio
import secrets
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import httpx

from service.adapters.fal import open_fal
from service.adapters.fal_signature import FRESH_FOR_S, parse_ed25519
from service.adapters.key_set import KeySet
from service.adapters.outbound import is_public, tls_context
from service.adapters.tokens import parse_public_key
from service.doctor.canary import all_loads, fly
from service.doctor.canary_answers import way_of
from service.doctor.checks import Case, Skip, Verdict, fail, ok, warn
from service.domain.canary import Outcome
from service.domain.errors import InputHidden, KeyRefused, Transient
from service.domain.job import Submission
from service.domain.providers import PROVIDERS
from service.domain.verdict import Missing
from service.wiring import fal_settings

ASK_S: Final = 10.0
# Loads, each within fal's patience, and the look-up of the name.
WEBHOOK_S: Final = 75.0
OFFSET_WARN_S: Final = 30.0
OFFSET_FAIL_S: Final = 240.0  # a minute before what fal signs looks stale to us
LISTED: Final = timedelta(minutes=1)

ENDPOINT: Final = PROVIDERS["seedance"].endpoint


async def check_key_set(case: Case) -> Verdict:
    """fal's public keys: without them no delivery can be believed."""
    url = case.settings.fal_jwks_url
    async with _client() as client:
        try:
            keys = await KeySet(client, url, parse_ed25519).load()
        except (httpx.HTTPError, ValueError, RecursionError, TimeoutError) as error:
            return fail(
                f"{url}: {_why(error)}", "correct FAL_JWKS_URL, or open the way to it in firewalls"
            )
    return ok(f"{url}: {len(keys)} Ed25519 {'key' if len(keys) == 1 else 'keys'}")


async def check_clock(case: Case) -> Verdict:
    """Our clock against those of fal and R2."""
    settings = case.settings
    asked = {"fal": settings.fal_jwks_url, "R2": settings.r2_endpoint_url}
    async with _client() as client:
        found = await asyncio.gather(*(_ahead_s(client, url) for url in asked.values() if url))
    offsets = {who: s for who, s in zip(asked, found, strict=False) if s is not None}
    if not offsets:
        raise Skip("needs an answer of fal or R2")
    worst_s = max(map(abs, offsets.values()))
    said = ", ".join(f"{who} is {_offset(s)}" for who, s in offsets.items())
    fix = f"set the clock (NTP): what fal signs counts for {FRESH_FOR_S} s, by our clock"
    if worst_s > OFFSET_FAIL_S:
        return fail(said, fix)
    return warn(said, fix) if worst_s > OFFSET_WARN_S else ok(said)


async def check_fal_key(case: Case) -> Verdict:
    """The status of a request that does not exist, which costs nothing.

    fal answers 401 to a key it does not know and 404 to an id it does not know. Both are seen by
    third parties, not documented. Of an account that is locked for want of money it still tells
    the status, so that is not proven here.
    """
    nobody = Submission(request_id=f"00000000-0000-4000-8000-{secrets.token_hex(6)}")
    async with open_fal(fal_settings(case.settings)) as fal:
        try:
            verdict = await fal.check(ENDPOINT, nobody)
        except KeyRefused as error:
            return fail(str(error), "correct FAL_KEY: fal does not accept it")
        except Transient as error:
            return fail(str(error), "correct FAL_QUEUE_URL, or open the way to it in firewalls")
    if not isinstance(verdict, Missing):
        return warn(f"fal knows a request that does not exist: {verdict}", "see FAL_QUEUE_URL")
    return ok("accepted; whether the account has a balance shows only when it is used")


async def check_listing(case: Case) -> Verdict:
    """Whether a submission whose answer was lost can be found again."""
    now = datetime.now(UTC)
    fix = "use a key that may list requests: it finds submissions whose answer was lost"
    async with open_fal(fal_settings(case.settings)) as fal:
        try:
            await fal.find(ENDPOINT, secrets.token_hex(16), now - LISTED, now)
        except InputHidden:
            return warn("fal's listing hides what was asked", "leave payload storage on at fal")
        except Transient as error:
            return warn(str(error), fix)
    return ok("the key may list its requests, with their input")


async def check_sign_in(case: Case) -> Verdict:
    settings = case.settings
    if settings.auth_jwks_url is None:
        how = "tokens signed with AUTH_JWT_SECRET" if settings.auth_jwt_secret else "no tokens"
        user = settings.auth_development_user
        return ok(how + (f"; without one, {user}" if user else ""))
    async with _client() as client:
        try:
            keys = await KeySet(client, settings.auth_jwks_url, parse_public_key).load()
        except (httpx.HTTPError, ValueError, RecursionError, TimeoutError) as error:
            return fail(
                f"{settings.auth_jwks_url}: {_why(error)}",
                "correct AUTH_JWKS_URL, or open the way to it in firewalls",
            )
    said = f"{settings.auth_jwks_url}: {len(keys)} usable {'key' if len(keys) == 1 else 'keys'}"
    if settings.auth_audience is None:
        return warn(
            f"{said}; tokens made for other applications count too",
            "set AUTH_AUDIENCE to what the issuer calls this one",
        )
    return ok(said)


async def check_webhook(case: Case) -> Verdict:
    """The canary, with all that it can carry."""
    settings = case.settings
    way = way_of(settings)
    finding = await fly(way, all_loads(settings.max_webhook_bytes))
    match finding.outcome:
        case Outcome.PASSED if not settings.development and await _only_here(way.base_url):
            return warn(
                f"{finding.seen}; the name leads to a private address here",
                "see that it leads to a public one elsewhere: fal delivers to no other",
            )
        case Outcome.PASSED:
            return ok(finding.seen)
        case Outcome.UNKNOWN if finding.absent:
            return warn(finding.seen, finding.fix)
        case _:
            return fail(finding.seen, finding.fix)


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, verify=tls_context(), timeout=ASK_S)


async def _ahead_s(client: httpx.AsyncClient, url: str) -> float | None:
    """How far the clock there is ahead of ours, to a second; None without an answer."""
    try:
        began = time.time()
        async with asyncio.timeout(ASK_S), client.stream("GET", url) as response:
            middle = (began + time.time()) / 2
            there = parsedate_to_datetime(response.headers["date"])
    except (httpx.HTTPError, TimeoutError, KeyError, ValueError):
        return None
    return there.timestamp() + 0.5 - middle  # a Date leaves its fraction of a second out


def _offset(ahead_s: float) -> str:
    if abs(ahead_s) < 2:  # noqa: PLR2004 - what a Date and a slow answer leave open
        return "in step"
    return f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine"


def _why(error: Exception) -> str:
    match error:
        case httpx.HTTPStatusError():
            return f"answers {error.response.status_code}"
        case httpx.HTTPError() | TimeoutError():
            return f"no answer ({type(error).__name__})"
        case _:
            return f"not a key set that can be used: {error}"


async def _only_here(base_url: str) -> bool:
    """Whether the name leads to an address that only this network knows."""
    parts = urlsplit(base_url)
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    return not all(is_public(ip_address(str(address[0]))) for *_, address in answers)
