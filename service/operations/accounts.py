"""accounts.close: no more orders; its videos are cancelled and deleted, its ledger stays."""

from typing import TypedDict

from service.domain.credits import account_name
from service.domain.errors import NotFound
from service.operations.base import Arguments, Context
from service.operations.money import Email


class CloseAccount(Arguments):
    email: Email


class ClosedAnswer(TypedDict):
    """`left`: jobs that the next sweeps cancel and delete."""

    changed: bool
    email: str
    closed: bool
    left: int


async def close(context: Context, wanted: CloseAccount) -> ClosedAnswer:
    """Close it. A repeat says how many jobs are left. Raises NotFound.

    The account's row with its address and its ledger are kept: they are the books.
    """
    email = account_name(wanted.email)
    if not await context.store.close_account(email):
        raise NotFound(f"{email}: there is no such account")
    left = await context.store.count_jobs(email)
    return {"changed": True, "email": email, "closed": True, "left": left}
