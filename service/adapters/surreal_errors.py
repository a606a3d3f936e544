"""What went wrong in SurrealDB: the errors its callers tell apart, read from results and words."""

import re
from collections.abc import Mapping
from typing import Any, Final

from service.domain.errors import ServiceError, Transient


class Unavailable(Transient):
    """No answer. The statement may or may not have been applied."""


class Conflict(Transient):
    """Another writer was first. The statement was not applied."""


class SessionLost(Transient):
    """The connection is no longer signed in. The statement was not applied."""


class NotPermitted(Transient):
    """The database's permissions leave this identity too little. The statement was not applied."""


class CannotWrite(Transient):
    """The engine's disk is full, or takes no writes. The statement was not applied."""


class AlreadyExists(ServiceError):
    """The record id, or a unique index entry, is taken."""


class Thrown(ServiceError):
    """The query said THROW; the message is the thrown text."""


class Rejected(ServiceError):
    """The engine refuses the statement: our bug, or a schema that does not fit the code."""


_CONFLICT: Final = re.compile(
    r"can be retried|transaction conflict|read or write conflict|resource busy|write conflict"
    r"|try again|writeconflict|multiple key errors",
    re.IGNORECASE,
)
_ECHO: Final = re.compile(
    r"^The query was not executed due to a (failed|cancelled) transaction$|^Cannot COMMIT: the"
)
_EXISTS: Final = re.compile(r"^Database (record `.*` already exists|index `.*` already)", re.DOTALL)
_THROWN: Final = re.compile(r"An error occurred: (.*)$", re.DOTALL)
_DENIED: Final = re.compile(r"not_permitted: ")  # the queries' own words: see identity.py
_NO_DISK: Final = re.compile(
    r"no space left|no storage space|disk quota exceeded|read-only file system|file too large"
    r"|os error (28|30|122|27)\b|background error",
    re.IGNORECASE,
)
_SIGNED_OUT: Final = re.compile(
    r"session has expired|token has expired|anonymous access not allowed|session not found",
    re.IGNORECASE,
)


def first_line(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0].removeprefix("There was a problem with the database: ")


def unpack(response: Mapping[str, Any]) -> list[Any]:
    """Every statement's result, or the failure that caused the others (not its echoes)."""
    if (error := response.get("error")) is not None:
        raise classify(str(error.get("message", error)), error.get("kind"), error.get("details"))
    failed = [each for each in response["result"] if each.get("status") != "OK"]
    if failed:
        root = next((each for each in failed if not _ECHO.search(str(each["result"]))), failed[0])
        raise classify(str(root["result"]), root.get("kind"), root.get("details"))
    return [each["result"] for each in response["result"]]


def classify(message: str, kind: str | None = None, details: Any = None) -> ServiceError:
    """The error class a SurrealDB failure belongs to: what the caller may do about it."""
    conflict = isinstance(details, Mapping) and details.get("kind") == "TransactionConflict"
    if conflict or _CONFLICT.search(message):
        return Conflict(message)
    if kind == "AlreadyExists" or _EXISTS.search(message):
        return AlreadyExists(message)
    if thrown := _THROWN.search(message):
        return NotPermitted(thrown[1]) if _DENIED.match(thrown[1]) else Thrown(thrown[1])
    if _SIGNED_OUT.search(message):
        return SessionLost(message)
    if _NO_DISK.search(message):
        return CannotWrite(message)
    return Rejected(message)
