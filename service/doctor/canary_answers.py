"""What an answer to the canary, or none, says about the way to our webhook, and what to mend."""

import hashlib
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from service.adapters.outbound import tls_context
from service.domain.canary import Arrival, Finding, Outcome, read_answer
from service.settings import Settings

WEBHOOK: Final = "/api/fal/webhook/"
PATIENCE_S: Final = 15.0  # fal's, at its first attempt

# What a proxy or a CDN says when it reaches nobody behind it.
_NOBODY: Final = frozenset({502, 503, 504, 521, 522, 523, 530})
_REFUSALS: Final = frozenset({401, 403, 407})
# What passes: somebody is busy, or somebody was slow. Ours say so too.
_FOR_NOW: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500
_TOO_LARGE: Final = 413
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./_-]{0,30}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """Where the canary flies, whose seal it bears, and whom TLS trusts."""

    base_url: str
    seal_key: bytes = field(repr=False)
    tls: ssl.SSLContext = field(default_factory=tls_context)

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).netloc


def way_of(settings: Settings) -> Way:
    """The way that fal is told, from settings that have an address and a seal key."""
    assert settings.public_base_url is not None, "read_settings reports what is missing"
    assert settings.webhook_seal_key is not None, "read_settings reports what is missing"
    key = settings.webhook_seal_key.get_secret_value().encode()
    return Way(base_url=settings.public_base_url, seal_key=key)


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """One request: which form of the path it takes, and what it carries."""

    what: str
    body: bytes
    headers: Mapping[str, str]
    slash: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


def judge(way: Way, token: str, load: Load, reply: Reply) -> Finding:
    """What this answer proves."""
    answer = _json(reply.body)
    if reply.status == httpx.codes.OK:
        arrived = read_answer(way.seal_key, token, answer)
        if arrived is not None:
            return _compared(load, arrived)
    if isinstance(answer, dict) and answer.get("code") == "not_authentic":
        return _other_of_us(way, answer)
    return _in_place_of_ours(way, load, reply)


def no_answer(way: Way, load: Load, error: Exception) -> Finding:
    """What it means that `error` came in place of an answer. It proves nothing about a proxy."""
    for each in _causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return _unknown(
                f"{way.host}: its TLS certificate is refused: {each.verify_message}",
                "serve a certificate for that name from a public authority, with its whole chain",
            )
        if isinstance(each, ssl.SSLError):
            return _unknown(
                f"{way.host}: no TLS connection: {each.reason or type(each).__name__}",
                "serve https at PUBLIC_BASE_URL",
            )
    if isinstance(error, httpx.ConnectError):
        return _unknown(
            f"nobody listens at {way.host}",
            "start fal-video web and the proxy in front of it, then run doctor again",
            absent=True,
        )
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return _unknown(
            f"{way.host} gave {load.what} no answer within {PATIENCE_S:.0f} s, when fal gives up",
            "open the way to it in firewalls, and see why the proxy or the web process is slow",
        )
    return _unknown(
        f"{way.host} broke off at {load.what}: {type(error).__name__}",
        "see the proxy's log: it has to pass each POST on and wait for its answer",
    )


def _in_place_of_ours(way: Way, load: Load, reply: Reply) -> Finding:
    if "cf-mitigated" in reply.headers:  # Cloudflare's word for a page in place of the answer
        return _wrong(
            f"{way.host} answers {load.what} with a CDN's challenge page ({reply.status})",
            f"let POST {WEBHOOK}* pass without challenges, bot rules or firewall rules there",
        )
    if httpx.codes.is_redirect(reply.status):
        return _redirected(way, load, reply)
    if reply.status == _TOO_LARGE:
        return _wrong(
            f"{way.host} refuses {load.what} (413)",
            "raise the proxy's limit for request bodies above MAX_WEBHOOK_BYTES"
            " (nginx: client_max_body_size)",
        )
    if reply.status >= _SERVER_ERROR or reply.status in _FOR_NOW:
        return _behind(way, load, reply.status)
    return _stranger(way, load, reply)


def _compared(load: Load, arrived: Arrival) -> Finding:
    sent = hashlib.sha256(load.body).hexdigest()
    if (arrived.sha256, arrived.length) != (sent, len(load.body)):
        return _wrong(
            f"{load.what} arrived changed: {len(load.body)} bytes were sent,"
            f" {arrived.length} arrived",
            "stop the proxy from reading and writing request bodies anew:"
            " fal signs the bytes as they are",
        )
    lost = [name for name, value in load.headers.items() if arrived.headers.get(name) != value]
    if lost:
        return _wrong(
            f"{load.what} arrived with headers changed or gone: {', '.join(lost)}",
            "let the proxy pass these headers on as they are",
        )
    note = "the slash at the path's end is rewritten, which does no harm"
    return Finding(outcome=Outcome.PASSED, seen=note if arrived.slash != load.slash else "")


def _redirected(way: Way, load: Load, reply: Reply) -> Finding:
    try:
        to = urlsplit(reply.headers.get("location", ""))
        where = f"{to.scheme}://{to.netloc}" if to.netloc else "another path of the same host"
    except ValueError:
        where = "an address that cannot be read"
    return _wrong(
        f"{way.host} redirects {load.what} ({reply.status}) to {where}",
        f"let it answer POST {WEBHOOK}* itself, or put the address after the redirect into"
        " PUBLIC_BASE_URL: fal follows none",
    )


def _other_of_us(way: Way, answer: Mapping[str, Any]) -> Finding:
    """A service like this one refuses our seal. While versions or keys change, that is right."""
    if "expired" in str(answer.get("detail")):
        return _unknown(
            f"{way.host}: the canary had expired when it arrived",
            "set the clocks of this machine and of the web processes right",
        )
    return _unknown(
        f"{way.host}: another fal-video answers there, or an older one: it refuses our seal",
        "give all processes the same WEBHOOK_SEAL_KEY, or correct PUBLIC_BASE_URL",
    )


def _behind(way: Way, load: Load, status: int) -> Finding:
    if status in _NOBODY:
        return _unknown(
            f"{way.host} answers {status}: it reaches no web process that is ready",
            "start fal-video web behind it, then run doctor again",
            absent=True,
        )
    return _unknown(
        f"{way.host} answers {load.what} with {status}",
        "see the logs of the proxy and of the web process",
    )


def _stranger(way: Way, load: Load, reply: Reply) -> Finding:
    by = _NAME.match(reply.headers.get("server", ""))
    said = f"{reply.status}, by {by[0]}" if by else f"{reply.status}"
    if reply.status in _REFUSALS:
        return _wrong(
            f"{way.host} refuses {load.what} ({said})",
            f"let POST {WEBHOOK}* pass there without a sign-in, bot, firewall or rate rule",
        )
    return _wrong(
        f"another service answers {load.what} at {way.host} ({said})",
        f"point PUBLIC_BASE_URL at this service, and let the proxy pass {WEBHOOK}* on to it",
    )


def _wrong(seen: str, fix: str) -> Finding:
    return Finding(outcome=Outcome.WRONG, seen=seen, fix=fix)


def _unknown(seen: str, fix: str, *, absent: bool = False) -> Finding:
    return Finding(outcome=Outcome.UNKNOWN, seen=seen, fix=fix, absent=absent)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
