"""How long a provider's model really takes, by its own latest videos."""

import statistics
from collections.abc import Sequence
from datetime import datetime
from typing import Final

RECENT: Final = 20  # videos; enough for a median, few enough to follow a faster or slower week


def render_s(submitted_at: datetime | None, rendered_at: datetime | None) -> int | None:
    """What one render took, in whole seconds, at least one; None where nobody can tell."""
    if submitted_at is None or rendered_at is None or rendered_at < submitted_at:
        return None
    return max(1, round((rendered_at - submitted_at).total_seconds()))


def usual_s(recent: Sequence[int]) -> int | None:
    """The median: a webhook that was lost, and looked for later, moves it hardly at all."""
    return round(statistics.median(recent)) if recent else None
