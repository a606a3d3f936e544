"""What strangers' bytes are fed to. Each target returns, or breaks a promise and raises.

A promise is always the same: the errors named, and no other, whatever the bytes are.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
from pydantic import ValidationError
from starlette.requests import Request

from service.adapters.fal_signature import FalVerifier, parse_ed25519
from service.adapters.image import ImageLimits, check_image
from service.adapters.key_set import KeySet
from service.adapters.outbound import OutboundPolicy, check_url
from service.adapters.tokens import Tokens, TokenSettings, parse_public_key
from service.domain.errors import (
    BadImage,
    Invalid,
    NotAuthentic,
    NotAVideo,
    SignInRequired,
    SourceRefused,
    TooLarge,
    UnsupportedMedia,
)
from service.domain.mp4 import Mp4Walk
from service.domain.seal import Sealed, seal, unseal
from service.domain.verdict import Unreadable, parse_delivery, parse_result
from service.web.bodies import Cancel, Order, read_order_form
from tests.hostile.pictures import saved

KEY: Final = b"a seal key that is long enough to be accepted here"
FAL: Final = OutboundPolicy(allowed_hosts=("fal.media",))
SIGNED: Final = ("request-id", "user-id", "timestamp", "signature")
PUBLISHED: Final = parse_ed25519(
    {"kty": "OKP", "crv": "Ed25519", "x": "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}
)
TOKENS: Final = Tokens(TokenSettings(secret="a secret that is long enough for HS256 to take it"))


@dataclass(frozen=True, slots=True)
class Target:
    """What is fed, some inputs to begin with, and how often CI feeds it."""

    feed: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    runs: int


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of what waits for nothing: no loop is needed, so that many runs fit."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise AssertionError("it waits for something")


def delivery(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        parse_delivery(data, "r-1")


def result(data: bytes) -> None:
    """As the adapter reads it: any JSON, or text that is none."""
    body: Any = data.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, RecursionError):
        body = json.loads(data)
    for status in (200, 422, 404, 500):
        parse_result(status, body)


def token(data: bytes) -> None:
    text = data.decode("latin-1")
    try:
        found = unseal(KEY, text)
    except NotAuthentic:
        return
    assert seal(KEY, found) == text, "a token in another spelling"


def sign_in(data: bytes) -> None:
    with contextlib.suppress(SignInRequired):
        at_once(TOKENS.sign_in(data.decode("latin-1")))


def _verifier() -> FalVerifier:
    assert PUBLISHED is not None
    keys = KeySet(httpx.AsyncClient(trust_env=False), "https://keys.example", parse_ed25519)
    keys._keys = (PUBLISHED,)
    keys._fetched_at = keys._tried_at = keys._missed_at = float("inf")
    return FalVerifier(keys, user_id=None)


VERIFIER: Final = _verifier()


def signed_headers(data: bytes) -> None:
    """Four header values a line each, then the body."""
    *values, body = (data + b"\n" * 4).split(b"\n", 4)
    headers = {
        f"x-fal-webhook-{name}": value.decode("latin-1")
        for name, value in zip(SIGNED, values, strict=True)
    }
    with contextlib.suppress(NotAuthentic):
        at_once(VERIFIER.verify(headers, body))


def key_set(data: bytes) -> None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(found, dict):
        parse_ed25519(found)
        parse_public_key(found)


def order(data: bytes) -> None:
    for kind in (Order, Cancel):
        with contextlib.suppress(ValidationError):
            kind.model_validate_json(data)


LOOP: Final = asyncio.new_event_loop()


def form(data: bytes) -> None:
    """The content type's end in the first line, then the body."""
    kind, _, body = data.partition(b"\n")
    scope: Mapping[str, Any] = {
        "type": "http",
        "app": None,  # within an application Starlette's refusals are HTTP's
        "method": "POST",
        "headers": [(b"content-type", b"multipart/form-data" + kind)],
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    with contextlib.suppress(Invalid, TooLarge, UnsupportedMedia):
        LOOP.run_until_complete(read_order_form(Request(dict(scope), receive), 100_000))


def image(data: bytes) -> None:
    with contextlib.suppress(BadImage, UnsupportedMedia, TooLarge):
        check_image(data, ImageLimits(max_bytes=100_000, max_pixels=100_000))


def url(data: bytes) -> None:
    try:
        checked = check_url(FAL, data.decode("utf-8", "surrogateescape"))
    except SourceRefused:
        return
    host = checked.raw_host.decode().rstrip(".").lower()
    assert host == "fal.media" or host.endswith(".fal.media")
    assert (checked.scheme, checked.port, checked.userinfo) == ("https", None, b"")


def video(data: bytes) -> None:
    """Whole and in pieces it is judged alike."""
    assert _is_video([data]) == _is_video([data[at : at + 7] for at in range(0, len(data), 7)])


def _is_video(pieces: list[bytes]) -> bool:
    walk = Mp4Walk()
    try:
        for each in pieces:
            walk.feed(each)
        walk.finish()
    except NotAVideo:
        return False
    return True


def _order_form() -> bytes:
    part = b'--B\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    data = b'{"templateSlug": "a", "variables": {"B": "c"}, "duration": 5}'
    file = b'; filename="a.png"\r\nContent-Type: image/png'
    parts = [part % (b"data", b"", data), part % (b"startImage", file, b"\x89PNG")]
    return b"; boundary=B\n" + b"".join(parts) + b"--B--\r\n"


def _headers() -> bytes:
    values = ("r-1", "github|1234", "1767225600", "ab" * 64)
    return "\n".join([*values, '{"status": "OK"}']).encode()


VIDEO: Final = (
    b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41\0\0\0\x0cmoovabcd"
    b"\0\0\0\1mdat\0\0\0\0\0\0\0\x14abcd"
)
OK: Final = b'{"status": "OK", "request_id": "r-1", "payload": {"video": {"url": "https://a.b/c"}}}'
ERROR: Final = (
    b'{"status": "ERROR", "error": "Invalid status code: 422", "payload": {"detail": '
    b'[{"loc": ["body", "image_url"], "msg": "no", "type": "file_download_error"}]}}'
)
JWK: Final = b'{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "1", "alg": "RS256"}'
JWT: Final = b"eyJhbGciOiJIUzI1NiJ9.eyJlbWFpbCI6ImFAYi5jIn0.AAAA"


def _small_images() -> tuple[bytes, ...]:
    size = (20, 20)
    return (
        *(saved(kind, size) for kind in ("PNG", "JPEG", "WEBP")),
        saved("JPEG", size, progressive=True),
    )


TARGETS: Final[Mapping[str, Target]] = {
    "delivery": Target(delivery, (OK, ERROR, b'{"status": "OK"}'), 20_000),
    "result": Target(result, (OK, ERROR, b'{"detail": "x", "error_type": "y"}'), 10_000),
    "token": Target(token, (seal(KEY, Sealed("v1", 1)).encode(), b"v1.1."), 40_000),
    "sign_in": Target(sign_in, (JWT,), 10_000),
    "signed_headers": Target(signed_headers, (_headers(),), 8_000),
    "key_set": Target(key_set, (JWK, JWK.replace(b"RSA", b"OKP")), 8_000),
    "order": Target(order, (_order_form().partition(b"\r\n\r\n")[2][:60], b"{}"), 20_000),
    "form": Target(form, (_order_form(),), 1_500),
    "image": Target(image, _small_images(), 2_000),
    "url": Target(url, (b"https://v3.fal.media/a.mp4?x=1", b"https://u@fal.media:1/"), 10_000),
    "video": Target(video, (VIDEO,), 4_000),
}
