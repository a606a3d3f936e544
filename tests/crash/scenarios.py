"""The lives a job can have. Together they pass through every door."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from service.domain.job import IfFinished
from tests.crash.plan import Fault, Kind


class Webhook(StrEnum):
    SENT = "sent"
    LOST = "lost"
    STALE = "stale"  # signed in time by nobody's clock but fal's
    POISONED = "poisoned"  # a signed delivery that nobody can read comes first


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """What fal does (one plan for each submission, the last for all that follow), and the end.

    `before` is a fault that every run of the scenario begins with: a life after a crash.
    """

    name: str
    fal: tuple[str, ...] = ("",)
    webhook: Webhook = Webhook.SENT
    ends: frozenset[str] = frozenset({"ready"})
    before: tuple[Fault, ...] = ()
    cancels: IfFinished | None = None  # its owner gives the job up once fal has it
    deletes: bool = False  # its owner deletes it once it has ended
    closes: bool = False  # its owner's account is closed once there is a job
    together: int = 0  # so many faults may share a life: none leads past another one's point
    closed_too_early: bool = False  # the job has been failed when fal's success arrives
    double_click: bool = False
    lease_s: float | None = None


LARGE: Final = "bytes=100000"  # four parts
FAILED: Final = frozenset({"failed"})
CANCELLED: Final = frozenset({"cancelled"})
PARKED: Final = frozenset({"parked"})

# The cheap ones first: a point is explored in the first life that passes it.
SCENARIOS: Final = (
    Scenario(name="small"),
    Scenario(name="double click", double_click=True),
    Scenario(name="declined", fal=("submit_422=100",), ends=FAILED),
    Scenario(name="refused", fal=("refuse",), ends=FAILED),
    Scenario(name="busy", fal=("submit_429=1",)),
    Scenario(name="broken", fal=("error=500", "")),
    Scenario(name="broken for good", fal=("error=500",), ends=FAILED),
    Scenario(name="no webhook", webhook=Webhook.LOST),
    Scenario(name="refused, no webhook", fal=("refuse",), webhook=Webhook.LOST, ends=FAILED),
    Scenario(name="broken, no webhook", fal=("error=500", ""), webhook=Webhook.LOST),
    Scenario(name="stale webhook", webhook=Webhook.STALE),
    Scenario(name="poison", webhook=Webhook.POISONED),
    Scenario(name="answer lost", fal=("submit_drop",)),
    Scenario(name="answer and webhook lost", fal=("submit_502",), webhook=Webhook.LOST),
    Scenario(
        name="never sent",
        before=(Fault("send:store.begin_submission·a", Kind.KILL),),
    ),
    Scenario(name="no address, no webhook", fal=("no_url",), webhook=Webhook.LOST, ends=PARKED),
    Scenario(name="locked out", fal=("submit_401=1",)),
    Scenario(name="accepted twice", fal=("double_accept",)),
    Scenario(name="late", fal=("double_accept",), closed_too_early=True, ends=FAILED),
    Scenario(
        name="cancelled in time", fal=("submit_429=1",), cancels=IfFinished.DISCARD, ends=CANCELLED
    ),
    Scenario(
        name="cancelled while queued",
        fal=("queue=600",),
        cancels=IfFinished.DISCARD,
        ends=CANCELLED,
    ),
    Scenario(
        name="cancelled while rendered",
        fal=("delay=600",),
        cancels=IfFinished.KEEP,
        ends=CANCELLED,
    ),
    Scenario(name="cancelled in vain, kept", cancels=IfFinished.KEEP),
    Scenario(name="cancelled in vain", cancels=IfFinished.DISCARD, ends=CANCELLED),
    # What nobody can read is parked, and goes with the job.
    Scenario(name="deleted", webhook=Webhook.POISONED, deletes=True, together=9),
    Scenario(
        name="account closed",
        fal=("delay=600",),
        closes=True,
        together=9,
        ends=frozenset({"cancelled", "failed", "ready"}),
    ),
    Scenario(
        name="key refused while asked",
        webhook=Webhook.STALE,
        before=(Fault("handle:wire.status·b", Kind.DENY),),
    ),
    Scenario(name="bucket refused", before=(Fault("finalise:s3.put_object·b", Kind.DENY),)),
    Scenario(name="slow file", fal=("slow_file=200000,bytes=30000",), lease_s=0.12),
    Scenario(name="file moved", fal=("gone_once",)),
    Scenario(name="file gone", fal=("gone",), ends=FAILED),
    Scenario(name="large", fal=(LARGE,)),
    Scenario(
        name="upload broken off",
        fal=(LARGE,),
        before=(Fault("finalise:s3.upload_part_2·a", Kind.KILL),),
    ),
    Scenario(
        name="upload not noted",
        fal=(LARGE,),
        before=(Fault("finalise:s3.complete_multipart_upload·a", Kind.KILL),),
    ),
)
BY_NAME: Final[Mapping[str, Scenario]] = {each.name: each for each in SCENARIOS}
