"""Verifiers over published key sets, and one delivery whose signature was made elsewhere."""

from collections.abc import Mapping

import pytest

from service.adapters.fal_signature import FalVerifier, parse_ed25519
from service.domain.errors import NotAuthentic
from tests.web.deliveries import ACCOUNT
from tests.web.key_sets import Published

# The secret seed is the bytes 00 to 1f.
VECTOR_X = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"
VECTOR_AT = 1767225600
VECTOR_BODY = (
    b'{"error": null, "gateway_request_id": "764cabcf-b745-4b3e-ae38-1200304cf45b", '
    b'"payload": {"video": {"url": "https://v3b.fal.media/files/b/x/out.mp4"}}, '
    b'"request_id": "764cabcf-b745-4b3e-ae38-1200304cf45b", "status": "OK"}'
)
VECTOR = {
    "x-fal-webhook-request-id": "764cabcf-b745-4b3e-ae38-1200304cf45b",
    "x-fal-webhook-user-id": "github|1234",
    "x-fal-webhook-timestamp": str(VECTOR_AT),
    "x-fal-webhook-signature": (
        "84a9f24d1e24d8d97735573c761ef0a0bbc71668bc9dcef7b06f83fc1c3558ea"
        "aac388db56d96d514945059f3fb23b2a441fc3db2db3061a97b8ecd239a6b407"
    ),
}
EVERY_HEADER = tuple(VECTOR)


def vector_verifier(now: float = VECTOR_AT, user_id: str | None = None) -> FalVerifier:
    published = Published(keys=[{"kty": "OKP", "crv": "Ed25519", "x": VECTOR_X}])
    keys = published.key_set(parse_ed25519)
    return FalVerifier(keys, user_id=user_id, clock=lambda: now)


def verifier_of(published: Published, user_id: str | None = ACCOUNT) -> FalVerifier:
    return FalVerifier(published.key_set(parse_ed25519), user_id=user_id)


async def refused(verifier: FalVerifier, headers: Mapping[str, str], body: bytes) -> None:
    with pytest.raises(NotAuthentic):
        await verifier.verify(headers, body)
