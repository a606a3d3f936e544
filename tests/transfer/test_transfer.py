"""Source and bucket together: whatever goes wrong, the bucket holds the whole video or nothing."""

import hashlib

import pytest

from service.adapters.object_store import R2Bucket
from service.adapters.video_source import HttpVideoSource
from service.domain.errors import (
    NotAVideo,
    ServiceError,
    SourceGone,
    SourceRefused,
    SourceTooLarge,
    Transient,
)
from service.ports import StoredObject
from tests.transfer.samples import FTYP, MIB, breaking, in_turn, mp4, status, whole
from tests.transfer.servers import Exchange, Fault, FaultCdn, Handler
from tests.transfer.stores import KEY, Store

BODY = mp4(2 * MIB)


async def transfer(source: HttpVideoSource, bucket: R2Bucket, url: str) -> StoredObject:
    async with source.fetch(url) as download:
        return await bucket.put_video(KEY, "job-1", download)


def endless(*, length: bool) -> Handler:
    async def handle(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": 10 * 1024**3} if length else {}, version="1.0")
        await exchange.send(FTYP + (2**31).to_bytes(4, "big") + b"mdat")
        while True:
            await exchange.send(bytes(MIB))

    return handle


def stalling_after(sent: int) -> Handler:
    async def handle(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": len(BODY)})
        await exchange.send(BODY[:sent])
        await exchange.hang()

    return handle


FAILURES = {
    "expired": (status(403), SourceGone),
    "busy": (status(503), Transient),
    "html": (whole(b"<html>expired</html>"), NotAVideo),
    "empty": (whole(b""), NotAVideo),
    "10 GiB announced": (endless(length=True), SourceTooLarge),
    "endless": (endless(length=False), SourceTooLarge),
    "cut, no ETag": (breaking(BODY, every=len(BODY) * 9 // 10, etag='W/"1"'), Transient),
    "cut, no length": (whole(BODY[:-1], length=False), NotAVideo),
    "changes": (in_turn(breaking(BODY, every=MIB), whole(BODY, etag='"v2"')), Transient),
    "metadata service": (status(302, Location="http://169.254.169.254/latest"), SourceRefused),
}


@pytest.mark.parametrize(("handler", "error"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_source_that_fails_leaves_no_object_and_no_upload(
    source: HttpVideoSource,
    bucket: R2Bucket,
    store: Store,
    cdn: FaultCdn,
    handler: Handler,
    error: type[ServiceError],
) -> None:
    """F49, F50, F51, F52, F53: no object, no part of one, and an error that says what it was."""
    with pytest.raises(error):
        await transfer(source, bucket, cdn.url(handler))
    assert store.object() is None
    assert store.unfinished == 0


async def test_a_source_that_stalls_leaves_no_object_and_no_upload(
    impatient_source: HttpVideoSource, bucket: R2Bucket, store: Store, cdn: FaultCdn
) -> None:
    """F49: a sender that falls silent in the middle."""
    with pytest.raises(Transient):
        await transfer(impatient_source, bucket, cdn.url(stalling_after(MIB)))
    assert store.object() is None
    assert store.unfinished == 0


async def test_breaks_on_both_sides_end_in_the_same_bytes(
    source: HttpVideoSource, bucket: R2Bucket, store: Store, cdn: FaultCdn
) -> None:
    """F50, F54: the download resumes by Range inside the upload, whose parts are sent again."""
    store.proxy.faults += [
        Fault("partNumber=1", "reset", times=2),
        Fault("partNumber=2", "429 TooManyRequests"),
        Fault("partNumber=3", "lose", times=2),
        Fault("^POST .*uploadId", "lose", times=2),
    ]
    stored = await transfer(source, bucket, cdn.url(breaking(BODY, every=700_000)))
    assert (stored.size, stored.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())
    assert store.object() == BODY
    assert store.unfinished == 0
