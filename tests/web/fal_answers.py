"""What fal may answer, and what is asked of it: for the tests of its adapter."""

from datetime import UTC, datetime
from typing import Any

from service.adapters.fal import (
    HttpFal,
)
from service.ports import SubmitOutcome
from tests.web.raw_fal import Behave, Exchange, RawFal

MODEL = "fal-ai/kling-video/v2.5-turbo/pro/image-to-video"
HOOK = "https://video.example/api/fal/webhook/v1.abc?x=1&y=ü"
ARGUMENTS = {"prompt": "a dog é", "duration": "5", "image_url": "https://r2.example/i.png?sig=1"}
Pair = tuple[RawFal, HttpFal]
SINCE = datetime(2026, 11, 22, 12, tzinfo=UTC)
UNTIL = datetime(2026, 11, 22, 13, tzinfo=UTC)

NGINX = b"<html><head><title>502 Bad Gateway</title></head><center>nginx</center></html>"
DETAIL = {"detail": [{"loc": ["body", "prompt"], "msg": "is bad", "type": "value_error"}]}


def good(raw: RawFal, **other: Any) -> dict[str, Any]:
    base = f"{raw.url}/fal-ai/kling-video/requests/r1"
    return {
        "status": "IN_QUEUE",
        "request_id": "r1",
        "gateway_request_id": "g1",
        "response_url": base,
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
        "queue_position": 0,
        **other,
    }


async def submit(fal: HttpFal) -> SubmitOutcome:
    return await fal.submit(MODEL, ARGUMENTS, HOOK)


async def drop(exchange: Exchange) -> None:
    exchange.reset()


async def hang(exchange: Exchange) -> None:
    await exchange.hang()


async def close_politely(exchange: Exchange) -> None:
    exchange.writer.close()


async def half_an_answer(exchange: Exchange) -> None:
    exchange.writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"request_id": "r1"')
    await exchange.writer.drain()


async def no_http(exchange: Exchange) -> None:
    exchange.writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await exchange.writer.drain()


async def broken_gzip(exchange: Exchange) -> None:
    await exchange.answer(200, b"not gzip", {"Content-Encoding": "gzip"})


def answers(status: int, body: Any = b"", headers: dict[str, str] | None = None) -> Behave:
    return lambda exchange: exchange.answer(status, body, headers)


VIDEO = {"video": {"url": "https://v3.fal.media/files/b/x/out.mp4"}}


def item(number: int, needle: str = "users/1/start/v1.png", **other: Any) -> dict[str, Any]:
    return {
        "request_id": f"r{number}",
        "json_input": {"image_url": f"https://r2.example/{needle}?sig={number}"},
        "ended_at": None,
        "status_code": None,
        "json_output": None,
        **other,
    }
