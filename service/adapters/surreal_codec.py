"""What goes to SurrealDB and comes from it as bytes: cbor2 in place of the SDK's own Python.

The SDK encodes and decodes CBOR in Python, which was a third of what a status read costs this
process; cbor2 does it in a fifth of the time. Values come out as the SDK's own do, but for two:
an instant is a plain datetime, to the microsecond, and NULL, which only the old system stored, is
None like NONE.

Two seams of the SDK, which is pinned exactly, are used for that: its connections' `_send`, which
takes a message by what it looks like, and the name `decode` in their modules.
"""

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import cbor2
from surrealdb import Range, RecordID
from surrealdb.cbor import CBORTag
from surrealdb.connections import async_embedded, async_ws
from surrealdb.data.cbor import tag_decoder
from surrealdb.data.types import constants
from surrealdb.data.types.null import NullType
from surrealdb.data.types.range import BoundExcluded, BoundIncluded

_NULL: Final = b"\xf6"
_NONE: Final = bytes([0xC0 | constants.TAG_NONE]) + _NULL  # what None is; a bare null is NULL
_MAX_INT: Final = 2**63 - 1

_numbers = itertools.count(1)


class Query:
    """A query as `_send` wants a message: with an id that the answer carries too, and encoded."""

    __slots__ = ("WS_CBOR_DESCRIPTOR", "id")

    def __init__(self, statement: str, params: Mapping[str, Any]) -> None:
        self.id = str(next(_numbers))
        call = {"id": self.id, "method": "query", "params": [statement, dict(params)]}
        self.WS_CBOR_DESCRIPTOR = encode(call)


async def query_raw(sdk: Any, statement: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a query as it came. Raises ValueError or TypeError for what has no encoding."""
    message = Query(statement, params)
    answer: dict[str, Any] = await sdk._send(message, "query", bypass=True)  # noqa: SLF001
    return answer


def encode(value: Any) -> bytes:
    """CBOR as SurrealDB reads it. Raises ValueError or TypeError."""
    return cbor2.dumps(value, encoders=_ENCODERS, default=_refuse, timezone=UTC)


def decode(data: bytes) -> Any:
    """The value of SurrealDB's CBOR. Raises ValueError for what is none."""
    return cbor2.loads(data, semantic_decoders=_DECODERS, tag_hook=_by_the_sdk)


def _none(encoder: cbor2.CBOREncoder, _: None) -> None:
    encoder.write(_NONE)


def _null(encoder: cbor2.CBOREncoder, _: NullType) -> None:
    encoder.write(_NULL)


def _integer(encoder: cbor2.CBOREncoder, value: int) -> None:
    if not -_MAX_INT - 1 <= value <= _MAX_INT:  # the server would take it for another one
        raise ValueError(f"{value} does not fit in 64 bits")
    encoder.encode_int(value)


def _record_id(encoder: cbor2.CBOREncoder, value: RecordID) -> None:
    encoder.encode_semantic(constants.TAG_RECORD_ID, [value.table_name, value.id])


def _range(encoder: cbor2.CBOREncoder, value: Range) -> None:
    encoder.encode_semantic(constants.TAG_RANGE, [value.begin, value.end])


def _included(encoder: cbor2.CBOREncoder, value: BoundIncluded) -> None:
    encoder.encode_semantic(constants.TAG_BOUND_INCLUDED, value.value)


def _excluded(encoder: cbor2.CBOREncoder, value: BoundExcluded) -> None:
    encoder.encode_semantic(constants.TAG_BOUND_EXCLUDED, value.value)


def _set(encoder: cbor2.CBOREncoder, value: set[Any] | frozenset[Any]) -> None:
    encoder.encode_semantic(constants.TAG_SET, list(value))


def _refuse(_: cbor2.CBOREncoder, value: Any) -> None:
    raise TypeError(f"a {type(value).__name__} has no encoding for the database")


def _by_the_sdk(tag: cbor2.CBORTag, _immutable: bool) -> Any:  # noqa: FBT001
    """Whatever is rare, or only newer servers know."""
    unused: Any = None
    return tag_decoder(unused, CBORTag(tag.tag, tag.value))


def _to_none(_: Any, _immutable: bool) -> None:  # noqa: FBT001 - cbor2's signature
    return None


def _to_record_id(value: list[Any], _immutable: bool) -> RecordID:  # noqa: FBT001
    # Not checked: the server's own ids are what they are.
    return RecordID._unchecked(value[0], value[1])  # noqa: SLF001


def _to_instant(value: list[int], _immutable: bool) -> datetime:  # noqa: FBT001
    """Of seconds and nanoseconds; zeros at the end are left out."""
    seconds, nanoseconds = (*value, 0, 0)[:2]
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)


_ENCODERS: Final[Mapping[type, Any]] = {
    type(None): _none,
    NullType: _null,
    int: _integer,
    RecordID: _record_id,
    Range: _range,
    BoundIncluded: _included,
    BoundExcluded: _excluded,
    set: _set,
    frozenset: _set,
}
_DECODERS: Final[Mapping[int, Any]] = {
    constants.TAG_NONE: _to_none,
    constants.TAG_RECORD_ID: _to_record_id,
    constants.TAG_DATETIME_COMPACT: _to_instant,
}

for _connections in (async_ws, async_embedded):
    _connections.decode = decode  # type: ignore[attr-defined]
