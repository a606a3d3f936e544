"""Pausing what fails for every job alike, and finding out, one job at a time, when it works again.

The pause is a row that all processes share: one alarm, one probe at a time. Jobs are left as
they are meanwhile; once it is over, sweeps take them in their order, a batch at a time.
"""

import logging
from collections.abc import Collection

from service.domain.job import JobState
from service.domain.pauses import Activity, Gate
from service.domain.policy import PROBE_S, jittered
from service.ports import Services

log = logging.getLogger(__name__)


async def enter(services: Services, activity: Activity) -> Gate:
    """Whether to go on with an activity; PROBE if this is the one to find out."""
    return await services.store.gate(activity, probe_s=PROBE_S)


async def failed(services: Services, activity: Activity, gate: Gate, reason: str) -> None:
    """It failed for a reason that is nobody's own: pause it, and raise the alarm once."""
    delays_s = [jittered(each) for each in services.policy.pause_s]
    probed = gate is Gate.PROBE
    if await services.store.pause(activity, reason, delays_s=delays_s, probed=probed):
        log.error("paused", extra={"activity": activity.value, "reason": reason})


async def worked(services: Services, activity: Activity, gate: Gate) -> None:
    """It worked: if this was the probe, everybody may go on."""
    if gate is Gate.PROBE and await services.store.resume(activity):
        log.warning("resumed", extra={"activity": activity.value})


async def states_left_alone(services: Services) -> Collection[JobState]:
    """The states whose jobs a sweep should not take now: they wait in their place."""
    waits = {Activity.SUBMITTING: JobState.RESERVED, Activity.FINALISING: JobState.RENDERED}
    left = {waits[each.activity] for each in await services.store.pauses() if each.shut}
    limit = services.policy.max_at_fal
    if await services.store.count_at_fal(limit) >= limit:
        left.add(JobState.RESERVED)
    return left
