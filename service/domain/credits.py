"""Credits: integers that are granted, reserved, and then captured or released."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from service.domain.errors import FieldError, Invalid

# A single grant above this is a typing mistake; it also keeps every sum far inside 63 bits.
MAX_GRANT: Final = 1_000_000_000


class EntryKind(StrEnum):
    GRANT = "grant"
    RESERVE = "reserve"
    CAPTURE = "capture"
    RELEASE = "release"
    REFUND = "refund"  # captured credits, given back by a person


class Refunded(StrEnum):
    """What became of a refund."""

    REFUNDED = "refunded"
    REPEAT = "repeat"  # it had been made before
    NOT_CAPTURED = "not_captured"  # the job spent nothing
    UNKNOWN_JOB = "unknown_job"
    INSUFFICIENT = "insufficient"  # the account has spent less than that, refunds apart
    CONFLICT = "conflict"  # the id was another refund's


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """An account's credits. available + reserved + captured = granted, always."""

    available: int
    reserved: int
    captured: int
    granted: int
    closed: bool = False  # nothing is reserved from it any more


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerEntry:
    """One immutable fact about an account's credits."""

    id: str
    kind: EntryKind
    credits: int
    job_id: str | None
    at: datetime
    reason: str | None = None  # of a refund


def check_grant(email: str, amount: int) -> None:
    """Return if `amount` may be granted to `email`. Raises Invalid naming what is wrong."""
    errors = []
    if not 0 < amount <= MAX_GRANT:
        errors.append(FieldError("amount", f"must be a whole number from 1 to {MAX_GRANT}"))
    if "@" not in email:
        errors.append(FieldError("email", "must be an e-mail address"))
    if errors:
        raise Invalid(errors)


def account_name(email: str) -> str:
    """The one spelling of an owner's e-mail address: it names the account's row."""
    return email.strip().lower()
