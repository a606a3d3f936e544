"""Who runs the next periodic audit, and what the last one found."""

from typing import Protocol

from service.domain.standing import LastAudit


class AuditRuns(Protocol):
    """One audit at a time, whichever process runs it. Every method raises Transient."""

    async def claim_audit(self, holder: str, *, apart_s: float, claim_s: float) -> bool:
        """Take the next audit for a while; for its holder, more time. False if it is not due."""
        ...

    async def record_audit(self, holder: str, *, violations: int, took_s: float) -> bool:
        """Note what was found, and let go. False if the claim had run out and was taken."""
        ...

    async def last_audit(self) -> LastAudit | None: ...
