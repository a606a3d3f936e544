"""Fetches start images as fal does: from any address, within bounds."""

from base64 import b64decode
from binascii import Error as NotBase64
from dataclasses import dataclass

import httpx

from service.sandbox.endpoints import problem
from service.sandbox.records import Json


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageProblem:
    """Why there is no usable image, as one entry of fal's `detail`."""

    kind: str
    says: str

    def entry(self, field: str, url: str) -> Json:
        return problem((field,), self.says, self.kind, url)


UNREADABLE = ImageProblem(
    kind="image_load_error",
    says="Failed to load the image. It may be corrupted or in a format that is not supported.",
)


async def fetch(client: httpx.AsyncClient, url: str, *, max_bytes: int) -> bytes | ImageProblem:
    """The image's bytes, or what fal says when it cannot have them."""
    if url.startswith("data:"):
        return _from_data_uri(url)
    try:
        async with client.stream("GET", url, follow_redirects=True) as answer:
            if not answer.is_success:
                return _failed(f"status code {answer.status_code}")
            return await _capped(answer, max_bytes)
    except (httpx.TransportError, httpx.InvalidURL, httpx.TooManyRedirects) as error:
        return _failed(type(error).__name__)


async def _capped(answer: httpx.Response, max_bytes: int) -> bytes | ImageProblem:
    received = bytearray()
    async for chunk in answer.aiter_bytes():
        received += chunk
        if len(received) > max_bytes:
            return ImageProblem(
                kind="file_too_large", says=f"The file exceeds the limit of {max_bytes} bytes."
            )
    return bytes(received)


def _from_data_uri(url: str) -> bytes | ImageProblem:
    header, _, payload = url.partition(",")
    if not header.endswith(";base64"):
        return UNREADABLE
    try:
        return b64decode(payload, validate=True)
    except NotBase64:
        return UNREADABLE


def _failed(reason: str) -> ImageProblem:
    return ImageProblem(
        kind="file_download_error",
        says=f"Failed to download the file. Check that it is publicly accessible. ({reason})",
    )
