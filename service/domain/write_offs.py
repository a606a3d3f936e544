"""What the provider may bill and nobody is charged for: counted, so that it is seen."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    SURPLUS = "surplus"  # a second request of one job made a video too
    UNWANTED = "unwanted"  # its owner had cancelled it, and it was made all the same
    REFUSED = "refused"  # the model spent time on an input it then refused
    LOST = "lost"  # the video was made, and gone before it could be kept
    LATE = "late"  # it came after its job had ended, and was not recovered


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteOff:
    """One request's cost, in the job's own price (credits): what its owner would have paid.

    One per job and request: a repeat adds nothing.
    """

    job_id: str
    request_id: str
    reason: Reason
    credits: int
