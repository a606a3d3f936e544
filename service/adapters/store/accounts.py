"""Credits and templates; see ports.store.Accounts."""

from typing import Final

from surrealdb import RecordID

from service.adapters.rows import (
    account_record,
    job_record,
    refund_record,
    reservation_record,
    settlement_record,
    template_params,
    to_balance,
    to_ledger_entry,
    to_template,
)
from service.adapters.store.base import QueryStore
from service.domain.credits import Balance, LedgerEntry, Refunded, account_name
from service.domain.errors import IdempotencyConflict, NotFound
from service.domain.templates import Template

NO_CREDITS: Final = Balance(available=0, reserved=0, captured=0, granted=0)


class AccountStore(QueryStore):
    async def grant(self, email: str, amount: int, grant_id: str) -> Balance:
        return (await self.grant_once(email, amount, grant_id))[0]

    async def grant_once(self, email: str, amount: int, grant_id: str) -> tuple[Balance, bool]:
        """The balance, and whether it was this call that added to it."""
        name = account_name(email)
        row = await self._write(
            "grant_credits",
            entry=RecordID("ledger", ["grant", grant_id]),
            account=RecordID("account", name),
            email=name,
            credits=amount,
        )
        if row is None:
            raise IdempotencyConflict(
                f"the grant {grant_id} was made to another account or of another amount"
            )
        return to_balance(row["account"]), bool(row["made"])

    async def refund_job(self, job_id: str, reason: str) -> Refunded:
        outcome = await self._write(
            "refund_job",
            job=job_record(job_id),
            entry=refund_record(job_id),
            settlement=settlement_record(job_id),
            reason=reason,
        )
        return Refunded(outcome)

    async def refund_account(
        self, email: str, amount: int, refund_id: str, reason: str
    ) -> Refunded:
        outcome = await self._write(
            "refund_account",
            account=account_record(email),
            entry=RecordID("ledger", ["refund", refund_id]),
            credits=amount,
            reason=reason,
        )
        return Refunded(outcome)

    async def balance(self, email: str) -> Balance:
        row = await self._read("read_balance", account=account_record(email))
        return to_balance(row) if row else NO_CREDITS

    async def ledger(self, email: str, limit: int) -> list[LedgerEntry]:
        rows = await self._read("read_ledger", account=account_record(email), limit=limit)
        return [to_ledger_entry(row) for row in rows]

    async def job_ledger(self, job_id: str) -> list[LedgerEntry]:
        entries = [
            reservation_record(job_id),
            settlement_record(job_id),
            refund_record(job_id),
        ]
        rows = await self._read("read_job_ledger", entries=entries)
        return [to_ledger_entry(row) for row in rows]

    async def save_template(self, template: Template) -> None:
        await self._write("save_template", **template_params(template))

    async def add_template(self, template: Template) -> bool:
        return bool(await self._write("add_template", **template_params(template)))

    async def template(self, slug: str) -> Template:
        row = await self._read("read_template", template=RecordID("template", slug))
        if not row:
            raise NotFound(f"there is no template {slug!r}")
        return to_template(row)

    async def templates(self) -> list[Template]:
        return [to_template(row) for row in await self._read("read_templates")]
