"""Reading request bodies: bounded, and with an error that names the field and the fix."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from service.domain.errors import FieldError, Invalid, TooLarge, UnsupportedMedia
from service.domain.job import IfFinished

FORM_OVERHEAD_BYTES: Final = 128 * 1024  # boundaries, part headers and the JSON beside the image
MAX_JSON_BYTES: Final = 64 * 1024
# Clients that do not know a file's type say this; what the bytes are is checked anyway.
_PARTS: Final = frozenset({"data", "startImage"})
WEBHOOK_BODY_S: Final = 10.0  # fal waits 15 s for an answer
FORM_BODY_S: Final = 120.0  # 10 MB over a slow phone's uplink
UNTYPED: Final = "application/octet-stream"


class Order(BaseModel):
    """The JSON in the form's `data` part."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    template_slug: str = Field(min_length=1, max_length=100)
    variables: dict[str, str] = Field(default_factory=dict, max_length=50)
    provider: str | None = Field(default=None, max_length=50)
    duration: int | None = Field(default=None, description="seconds of video")


class Cancel(BaseModel):
    """The JSON of a cancel."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    job_id: str = Field(min_length=1, max_length=64)
    if_finished: IfFinished = Field(
        default=IfFinished.KEEP, description="if the provider finishes all the same"
    )


@dataclass(frozen=True, slots=True)
class OrderForm:
    order: Order
    image: bytes


async def read_body(request: Request, limit: int) -> bytes:
    """The raw body, at most `limit` bytes of it. Raises TooLarge before reading further."""
    _check_announced(request, limit)
    body = bytearray()
    async with _in_time(WEBHOOK_BODY_S):
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise TooLarge(f"the body is larger than {limit} bytes")
    return bytes(body)


async def read_cancel(request: Request) -> Cancel:
    """Which job to give up. Raises UnsupportedMedia, TooLarge or Invalid."""
    if not request.headers.get("content-type", "").lower().startswith("application/json"):
        raise UnsupportedMedia("send application/json with the jobId")
    body = await read_body(request, MAX_JSON_BYTES)
    try:
        return Cancel.model_validate_json(body)
    except ValidationError as error:
        raise Invalid([_field_error(each, "body") for each in error.errors()]) from None


async def read_order_form(request: Request, max_image_bytes: int) -> OrderForm:
    """The order and its start image. Raises UnsupportedMedia, TooLarge or Invalid."""
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise UnsupportedMedia("send multipart/form-data with the parts startImage and data")
    limit = max_image_bytes + FORM_OVERHEAD_BYTES
    _check_announced(request, limit)
    _bound_stream(request, limit)
    try:
        async with _in_time(FORM_BODY_S):
            form = await request.form(max_files=2, max_fields=2, max_part_size=MAX_JSON_BYTES)
        try:
            order = await _order(form.getlist("data"), set(form.keys()))
            image = await _image(form.getlist("startImage"), max_image_bytes)
        finally:
            await form.close()
    except (UnicodeError, LookupError) as error:  # of the parser, at a charset it should not try
        raise Invalid([FieldError("body", "is no readable form: send it in UTF-8")]) from error
    except HTTPException as error:
        if error.status_code != 400:  # noqa: PLR2004 - 400 is the form parser's own refusal
            raise
        raise Invalid([FieldError("body", f"is no readable form: {error.detail}")]) from error
    if isinstance(order, Order) and isinstance(image, bytes):
        return OrderForm(order, image)
    raise Invalid([*_errors(image), *_errors(order)])


async def _order(parts: Sequence[UploadFile | str], names: set[str]) -> Order | list[FieldError]:
    """The order in `data`: a plain field, or a file part as browsers make of a JSON Blob."""
    unknown = [FieldError(each, "is not a part of this form") for each in names - _PARTS]
    if not parts:
        return [*unknown, FieldError("data", "is missing: JSON with templateSlug and variables")]
    if len(parts) > 1:
        return [*unknown, FieldError("data", "must be there once")]
    part = parts[0]
    if isinstance(part, UploadFile) and (part.size or 0) > MAX_JSON_BYTES:
        return [*unknown, FieldError("data", f"must have at most {MAX_JSON_BYTES} bytes")]
    try:
        text = await part.read() if isinstance(part, UploadFile) else part
        order = Order.model_validate_json(text)
    except ValidationError as error:
        return [*unknown, *(_field_error(each) for each in error.errors())]
    return unknown or order


async def _image(parts: Sequence[UploadFile | str], limit: int) -> bytes | list[FieldError]:
    if len(parts) > 1:
        return [FieldError("startImage", "must be there once")]
    part = parts[0] if parts else None
    if not isinstance(part, UploadFile):
        return [FieldError("startImage", "is missing: send a PNG, JPEG or WebP file")]
    declared = part.content_type or UNTYPED
    if declared != UNTYPED and not declared.startswith("image/"):  # which one, the bytes tell
        raise UnsupportedMedia("startImage must be a PNG, JPEG or WebP file")
    if part.size is not None and part.size > limit:
        raise TooLarge(f"startImage is larger than {limit} bytes")
    data = await part.read()
    return data or [FieldError("startImage", "is empty")]


def _field_error(error: Any, whole: str = "data") -> FieldError:
    path = ".".join(str(each) for each in error["loc"])
    return FieldError(path or whole, error["msg"])


def _errors(found: object) -> list[FieldError]:
    return found if isinstance(found, list) else []


@contextlib.asynccontextmanager
async def _in_time(limit_s: float) -> AsyncIterator[None]:
    """Bounds how long a body may dribble in: connections are not for keeping."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError as error:
        raise HTTPException(408, "The body took too long to arrive.") from error


def _check_announced(request: Request, limit: int) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise TooLarge(f"the body is larger than {limit} bytes")


def _bound_stream(request: Request, limit: int) -> None:
    """Count what arrives, so that a body without an announced length is bounded too."""
    receive = request.receive
    received = 0

    async def bounded() -> Any:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        return message

    request._receive = bounded  # noqa: SLF001 - Starlette's documented seam for wrapping a body
