"""The periodic audit: one process at a time, its result in the database for all to see."""

import asyncio
import logging
import time
from typing import Final

from service.domain.audit import Violation
from service.domain.errors import Transient
from service.flows.audit import audit
from service.ports import AuditStore
from service.ports.audits import AuditRuns

log = logging.getLogger(__name__)

CLAIM_S: Final = 120.0  # after a death another process begins anew this late
RENEWALS_PER_CLAIM: Final = 4
SHOWN: Final = 20  # violations in the log; `fal-video audit` shows all


async def audit_if_due(runs: AuditRuns, facts: AuditStore, holder: str, *, apart_s: float) -> bool:
    """Run the audit if it is time for one and nobody is at it; whether it ran here.

    Only rows are read, in pages, never the bucket. Raises Transient if the database is away.
    """
    if not await runs.claim_audit(holder, apart_s=apart_s, claim_s=CLAIM_S):
        return False
    began = time.monotonic()
    holding = asyncio.create_task(_hold(runs, holder, apart_s))
    try:
        violations = await _confirmed(facts)
    finally:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
    took_s = round(time.monotonic() - began, 3)
    if await runs.record_audit(holder, violations=len(violations), took_s=took_s):
        _tell(violations, took_s)
    return True


async def _confirmed(facts: AuditStore) -> list[Violation]:
    """What two looks in a row both show: a job that moves between two pages is no violation."""
    first = (await audit(facts, None)).violations
    if not first:
        return []
    known = {(each.invariant, each.subject) for each in first}
    again = (await audit(facts, None)).violations
    return [each for each in again if (each.invariant, each.subject) in known]


async def _hold(runs: AuditRuns, holder: str, apart_s: float) -> None:
    while True:
        await asyncio.sleep(CLAIM_S / RENEWALS_PER_CLAIM)
        try:
            await runs.claim_audit(holder, apart_s=apart_s, claim_s=CLAIM_S)
        except Transient as error:  # the claim outlives a moment's absence
            log.warning("audit claim not renewed", extra={"reason": str(error)})


def _tell(violations: list[Violation], took_s: float) -> None:
    facts = {"violations": len(violations), "seconds": took_s}
    if not violations:
        log.info("audit passed", extra=facts)
        return
    # Subjects that are accounts are e-mail addresses; only the command shows those.
    shown = [
        f"{each.invariant.name}: {'an account' if '@' in each.subject else each.subject}"
        for each in violations[:SHOWN]
    ]
    log.error("audit failed", extra={**facts, "found": shown})
