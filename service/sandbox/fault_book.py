"""Which failures the next submission gets: those it asks for, and those set up beforehand."""

from dataclasses import dataclass
from typing import Final

from service.sandbox.faults import Fault, FaultPlan

REFUSALS: Final = (
    Fault.SUBMIT_401,
    Fault.SUBMIT_403,
    Fault.SUBMIT_422,
    Fault.SUBMIT_429,
    Fault.SUBMIT_503,
)


@dataclass(slots=True)
class Rule:
    """A plan for the next `left` submissions whose prompt or endpoint contains `match`."""

    match: str | None
    plan: FaultPlan
    left: int = 1

    def fits(self, endpoint_id: str, prompt: str) -> bool:
        return self.left > 0 and (
            self.match is None or self.match in prompt or self.match in endpoint_id
        )


@dataclass(frozen=True, slots=True)
class Submission:
    """What makes two tries the same submission; a presigned URL's signature does not count."""

    endpoint_id: str
    prompt: str
    image: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The plan to follow; with a `refusal`, the submission must not be accepted."""

    plan: FaultPlan
    refusal: Fault | None = None


@dataclass(slots=True)
class _Pending:
    plan: FaultPlan
    left: dict[Fault, int]


def submission(endpoint_id: str, prompt: str, image_url: str) -> Submission:
    return Submission(endpoint_id, prompt, image_url.partition("?")[0])


class FaultBook:
    """Rules waiting for their submissions, and submissions in the middle of their refusals."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._pending: dict[Submission, _Pending] = {}

    def add(self, rule: Rule) -> None:
        self._rules.append(rule)

    def clear(self) -> None:
        self._rules.clear()
        self._pending.clear()

    def decide(self, tried: Submission, asked: FaultPlan) -> Decision:
        """What happens to this try. A repeat continues the refusals the first try began."""
        pending = self._pending.pop(tried, None)
        if pending is None:
            plan = asked.joined(self._take(tried))
            left = {fault: int(plan.number(fault)) for fault in REFUSALS if fault in plan}
            pending = _Pending(plan, left)
        refusal = next((fault for fault, times in pending.left.items() if times > 0), None)
        if refusal is not None:
            pending.left[refusal] -= 1
            self._pending[tried] = pending
        return Decision(pending.plan, refusal)

    def _take(self, tried: Submission) -> FaultPlan:
        for rule in self._rules:
            if rule.fits(tried.endpoint_id, tried.prompt):
                rule.left -= 1
                return rule.plan
        return FaultPlan()
