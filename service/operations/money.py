"""credits.*: an account's balance and ledger; granting credits, and giving captured ones back."""

import secrets
from typing import Annotated, Any, Final, Self, TypedDict, assert_never

from pydantic import Field, model_validator

from service.domain.credits import MAX_GRANT, Balance, Refunded, account_name, check_grant
from service.domain.errors import IdempotencyConflict, NotFound, NothingToRefund
from service.operations.answers import instant
from service.operations.base import Arguments, Context
from service.operations.jobs import JobId

ENTRIES: Final = 50  # of the ledger in an answer
Email = Annotated[str, Field(max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")]
Amount = Annotated[int, Field(ge=1, le=MAX_GRANT)]
# Names a grant or a refund, so that a repeat adds nothing.
Name = Annotated[str, Field(min_length=1, max_length=100)]


class EntryAnswer(TypedDict):
    id: str
    kind: str
    credits: int
    jobId: str | None
    reason: str | None
    at: str


class CreditsAnswer(TypedDict):
    """A balance, and the latest entries of the ledger, newest first."""

    email: str
    available: int
    reserved: int
    captured: int
    granted: int
    entries: list[EntryAnswer]


class GrantAnswer(CreditsAnswer):
    changed: bool
    grantId: str


class RefundAnswer(CreditsAnswer):
    changed: bool
    refundId: str | None
    jobId: str | None


class ShowCredits(Arguments):
    email: Email


def _new_name() -> str:
    return secrets.token_hex(8)


class GrantCredits(Arguments):
    """Named before it is begun: one whose answer is lost can be repeated under its name."""

    email: Annotated[str, Field(max_length=320)]
    amount: int
    id: Name = Field(default_factory=_new_name)

    @model_validator(mode="after")
    def _may_be_granted(self) -> Self:
        check_grant(self.email, self.amount)
        return self


class RefundCredits(Arguments):
    """Of a job all that it captured, once ever; or of an account an amount of what it has spent."""

    job_id: JobId | None = None
    email: Email | None = None
    amount: Amount | None = None
    id: Name | None = None
    reason: Annotated[str, Field(min_length=1, max_length=500)]

    @model_validator(mode="before")
    @classmethod
    def _is_named(cls, given: Any) -> Any:
        unnamed = isinstance(given, dict) and "email" in given and given.get("id") is None
        return {**given, "id": _new_name()} if unnamed else given

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        of_account = self.email is not None and self.amount is not None
        named = (self.email, self.amount, self.id)
        if of_account if self.job_id is not None else not of_account:
            raise ValueError("give a jobId, or an email and an amount")
        if self.job_id is not None and any(each is not None for each in named):
            raise ValueError("a job's refund takes its amount and its id from the job")
        return self


async def show(context: Context, wanted: ShowCredits) -> CreditsAnswer:
    email = account_name(wanted.email)
    return await _credits(context, email, await context.store.balance(email))


async def grant(context: Context, wanted: GrantCredits) -> GrantAnswer:
    """Add credits to an account, which is made if it is new. A repeat under an id adds nothing."""
    email = account_name(wanted.email)
    balance, made = await context.store.grant_once(email, wanted.amount, wanted.id)
    return {**await _credits(context, email, balance), "changed": made, "grantId": wanted.id}


async def refund(context: Context, wanted: RefundCredits) -> RefundAnswer:
    """Make captured credits available again. Raises NothingToRefund; a repeat adds nothing."""
    if wanted.job_id is not None:
        outcome = await context.store.refund_job(wanted.job_id, wanted.reason)
        changed = _was_made(outcome, f"the job {wanted.job_id}")
        email = (await context.store.job(wanted.job_id)).owner
        refund_id = None
    else:
        assert wanted.email is not None, "the model demands it"
        assert wanted.amount is not None, "the model demands it"
        assert wanted.id is not None, "the model gives it one"
        email, refund_id = account_name(wanted.email), wanted.id
        outcome = await context.store.refund_account(email, wanted.amount, refund_id, wanted.reason)
        changed = _was_made(outcome, f"the refund {refund_id}")
    found = await _credits(context, email, await context.store.balance(email))
    return {**found, "changed": changed, "refundId": refund_id, "jobId": wanted.job_id}


def _was_made(outcome: Refunded, what: str) -> bool:
    """Whether it was made now rather than before. Raises what stands in its way."""
    match outcome:
        case Refunded.REFUNDED:
            return True
        case Refunded.REPEAT:
            return False
        case Refunded.UNKNOWN_JOB:
            raise NotFound("there is no such job")
        case Refunded.CONFLICT:
            raise IdempotencyConflict(f"{what} was of another account or another amount")
        case Refunded.NOT_CAPTURED:
            raise NothingToRefund(f"{what} has captured no credits")
        case Refunded.INSUFFICIENT:
            raise NothingToRefund("the account has spent fewer credits than that, refunds apart")
        case _:
            assert_never(outcome)


async def _credits(context: Context, email: str, balance: Balance) -> CreditsAnswer:
    entries = await context.store.ledger(email, ENTRIES)
    return {
        "email": email,
        "available": balance.available,
        "reserved": balance.reserved,
        "captured": balance.captured,
        "granted": balance.granted,
        "entries": [
            {
                "id": each.id,
                "kind": each.kind.value,
                "credits": each.credits,
                "jobId": each.job_id,
                "reason": each.reason,
                "at": instant(each.at),
            }
            for each in entries
        ],
    }
