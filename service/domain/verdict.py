"""What a delivery, a status check or a result says about a job: the one reading of fal's words.

fal has no FAILED status: a request "completes" and its result is either the model's output or
the model's error. A structured 4xx error is the model's refusal of this input and final. Every
other error is infrastructure's: it says nothing about the video, so fal itself must be asked.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from service.domain.job import JobError


@dataclass(frozen=True, slots=True)
class Rendered:
    """fal made the video. The address is None when fal's message did not carry it."""

    source_url: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The model refuses this input for good."""

    error: JobError


@dataclass(frozen=True, slots=True)
class Broke:
    """The request ended without a video, and not because of its input."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """fal ended the request because somebody asked it to."""


@dataclass(frozen=True, slots=True)
class Pending:
    """fal is still at it, or what was said does not settle anything."""

    reason: str


@dataclass(frozen=True, slots=True)
class Missing:
    """fal does not know the request (any more)."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """fal says it succeeded, but there is no video in its result: a person must look."""

    reason: str


Verdict = Rendered | Refused | Broke | Stopped | Pending | Missing | Unusable


class Unreadable(Exception):
    """A delivery's body is not JSON of fal's form."""


_STATUS_CODE: Final = re.compile(r"\b([1-5]\d\d)\b")
_STOPPED: Final = "client_cancelled"  # fal's error type of a request that was cancelled
_NOT_A_REFUSAL: Final = frozenset({401, 403, 404, 408, 409, 425, 429, 499})

_MESSAGES: Final[Mapping[str, tuple[str, str]]] = {
    "content_policy_violation": (
        "content_policy",
        "The provider refused this prompt: content policy.",
    ),
    "file_download_error": (
        "image_unreachable",
        "The provider could not fetch the start image.",
    ),
    "file_too_large": ("image_too_large", "The start image is too large for this provider."),
    "image_too_large": ("image_too_large", "The start image is too large for this provider."),
    "image_too_small": ("image_too_small", "The start image is too small for this provider."),
}


def parse_delivery(body: bytes, request_id: str) -> Verdict:
    """The verdict in a webhook's raw body, about the request its signed header names.

    Pending means the message is authentic but does not settle the job: ask fal. Raises
    Unreadable.
    """
    message = _loads(body)
    if message.get("request_id", request_id) != request_id:
        return Pending("the body speaks of another request than the signed header")
    match message:
        case {"status": "OK", "payload": payload}:
            return Rendered(video_url(payload))
        case {"status": "OK"}:
            return Rendered(None)
        case {"status": "ERROR"}:
            text = writable(str(message.get("error") or ""))
            code = _STATUS_CODE.search(text)
            if _error_type(message.get("payload")) == _STOPPED:
                return Stopped()
            refusal = parse_refusal(int(code[1]) if code else None, message.get("payload"))
            return refusal or Pending(f"fal reported an error: {text[:200]}")
        case _:
            raise Unreadable("the body has no status OK or ERROR")


def parse_result(status_code: int, body: Any, *, error_type: str | None = None) -> Verdict:
    """The verdict in the answer to a result request; `error_type` as fal's headers name it.

    Only an error in fal's own form is about the request. A gateway's page, a redirect or anything
    else unexpected says nothing, and acting on it could pay for the same video twice: Pending.
    """
    if 200 <= status_code < 300 and isinstance(body, dict):  # noqa: PLR2004 - HTTP's success range
        url = video_url(body)
        return Rendered(url) if url else Unusable("fal's result holds no video address")
    kind = error_type or _error_type(body)
    if kind == _STOPPED:
        return Stopped()
    if refusal := parse_refusal(status_code, body):
        return refusal
    return _parse_error(status_code, body, kind)


def _parse_error(status_code: int, body: Any, kind: str | None) -> Verdict:
    """What an error that is no refusal says, by its status and fal's own name for it."""
    if status_code == 404 and isinstance(body, dict):  # noqa: PLR2004 - HTTP's Not Found
        return Missing()
    if 400 <= status_code < 500 and isinstance(body, dict) and status_code not in _NOT_A_REFUSAL:  # noqa: PLR2004
        return Unusable(
            writable(f"fal ended the request with HTTP {status_code}: {body.get('detail')}")
        )
    if status_code >= 500 and kind:  # noqa: PLR2004 - HTTP's server errors
        return Broke(writable(f"fal's result is an error: HTTP {status_code} {kind}"))
    return Pending(f"fal's result cannot be read: HTTP {status_code}")


def parse_refusal(status_code: int | None, body: Any) -> Refused | None:
    """The refusal in a structured 4xx body, or None if the error is infrastructure's.

    Structured means fal's `{"detail": [{"msg": …, "type": …}, …]}`. A plain text detail is what
    fal's own gateway writes about itself.
    """
    if status_code is None or not 400 <= status_code < 500 or status_code in _NOT_A_REFUSAL:  # noqa: PLR2004 - HTTP's client errors
        return None
    match body:
        case {"detail": [{"msg": str(message), **rest}, *_]}:
            return Refused(_explained(str(rest.get("type", "")), message, rest.get("loc")))
        case _:
            return None


def video_url(payload: Any) -> str | None:
    """The rendered file's address in a model's output. Only `video.url` is promised by fal."""
    match payload:
        case {"video": {"url": str(url)}} if url and url == writable(url):
            return url
        case _:
            return None


def writable(text: str) -> str:
    """Text that can be stored: JSON can spell half characters, which no encoding can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _error_type(body: Any) -> str | None:
    return body.get("error_type") if isinstance(body, dict) else None


def _explained(kind: str, message: str, location: Any) -> JobError:
    if kind in _MESSAGES:
        return JobError(code=_MESSAGES[kind][0], message=_MESSAGES[kind][1])
    field = str(location[-1]) if isinstance(location, list) and location else "input"
    return JobError(
        code="refused_by_provider",
        message=writable(f"The provider refused the request ({field}: {message[:200]})."),
    )


def _loads(body: bytes) -> Mapping[str, Any]:
    try:
        message = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # bad UTF-8 and bad JSON are ValueErrors
        raise Unreadable(f"the body is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise Unreadable("the body is not a JSON object")
    return message
