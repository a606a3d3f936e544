"""Every call to the object store: bounded in time, sent again where that helps, translated."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from service.domain.errors import DependencyDown, Transient
from service.domain.pauses import Activity

Answer = TypeVar("Answer")

MIB: Final = 1024 * 1024

# R2 asks for a second try with these, under a status (400) that no retry mode of botocore heeds.
CODES_TO_SEND_AGAIN: Final = frozenset(
    {"ClientDisconnect", "IncompleteBody", "RequestTimeout", "BadDigest"}
)
STATUSES_TO_SEND_AGAIN: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageLimits:
    """What a transfer may hold in memory, and how long it waits for the store."""

    # Up to here one PutObject, atomic and with nothing to clean up; most clips are smaller. It is
    # held whole, as three parts are: a transfer is to stay below 16 MiB.
    single_put_bytes: int = 12 * MIB
    # Measured: larger parts cost memory and gain nothing. R2 wants 5 MiB or more, all equal.
    part_bytes: int = 5 * MIB
    # Two fill a loopback link; the third covers a real one's round trips.
    parts_at_once: int = 3
    # Five jobs' parts, and some for look-ups.
    connections: int = 20
    attempts: int = 4
    # R2 allows one write a second per key and says 429 below that. Doubles: 1, 2, 4 s.
    retry_pause_s: float = 1.0
    # Per attempt. An upload may take this long: 12 MiB at 105 kB/s. No read or write timeout of
    # aiohttp or botocore sees a peer that stops reading, so this is what ends such a call.
    upload_timeout_s: float = 120.0
    call_timeout_s: float = 30.0
    # Cleaning up after a failure; a process that is stopping waits no longer for it.
    abort_timeout_s: float = 15.0
    # Reading an object back to hash it, after a crash: 2 GiB at 4 MB/s.
    read_back_timeout_s: float = 600.0


class StorageFailed(Transient):
    """The store refused or did not answer. `status` is None when no answer came at all."""

    def __init__(self, operation: str, s3_code: str, status: int | None = None) -> None:
        self.operation = operation
        self.s3_code = s3_code
        self.status = status
        super().__init__(f"storage: {operation} failed with {s3_code}")


class StorageRefused(StorageFailed, DependencyDown):
    """Our key or our bucket is not accepted: no job is at fault, and all of them wait for us."""

    pauses = Activity.FINALISING


class StorageAway(StorageFailed, DependencyDown):
    """The store gave no answer at all: that is nobody's job in particular.

    It pauses nothing: one connection that broke says little about the others.
    """


async def call(
    limits: StorageLimits,
    operation: str,
    send: Callable[[], Awaitable[Answer]],
    *,
    timeout_s: float | None = None,
) -> Answer:
    """What `send` answers, sent up to `limits.attempts` times; each attempt has the timeout.

    `send` must make a new request each time, and one whose answer was lost may have worked: the
    callers use conditional or repeatable requests. Raises StorageFailed or StorageRefused.
    """
    timeout_s = limits.call_timeout_s if timeout_s is None else timeout_s
    for attempt in range(limits.attempts - 1):
        try:
            return await _once(operation, send, timeout_s)
        except StorageFailed as failure:
            if not _worth_another(failure):
                raise
        jitter = 1 + random.random() / 2  # noqa: S311 - spreads retries, guards nothing
        await asyncio.sleep(limits.retry_pause_s * 2**attempt * jitter)
    return await _once(operation, send, timeout_s)


async def _once(operation: str, send: Callable[[], Awaitable[Answer]], timeout_s: float) -> Answer:
    """One attempt. The cause is cut off: botocore puts whole URLs, query and all, into its text."""
    try:
        async with asyncio.timeout(timeout_s):
            return await send()
    except ClientError as error:
        raise _translated(operation, error) from None
    except (BotoCoreError, aiohttp.ClientError, OSError) as error:  # OSError: TimeoutError is one
        raise StorageAway(operation, type(error).__name__) from None


def _translated(operation: str, error: ClientError) -> StorageFailed:
    s3_code = str(error.response.get("Error", {}).get("Code", "Unknown"))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    no_bucket = s3_code == "NoSuchBucket" or (operation == "HeadBucket" and s3_code == "404")
    ours = no_bucket or status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    return (StorageRefused if ours else StorageFailed)(operation, s3_code, status)


def _worth_another(failure: StorageFailed) -> bool:
    if failure.status is None or failure.s3_code in CODES_TO_SEND_AGAIN:
        return True
    return failure.status in STATUSES_TO_SEND_AGAIN
