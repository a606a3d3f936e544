"""Structured logs: the standard library's records, rendered by structlog, one line each."""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

# Lines that anybody can bring about, as often as they like: bounded, or a flood of requests is a
# flood of lines. The counts are in the metrics.
ANYBODYS: Final = frozenset(
    {
        "delivery refused",
        "delivery over the size limit",
        "client hung up",
        "request failed",
        "nudge dropped: the sweep will find it",
        "Invalid HTTP request received.",
        "Unsupported upgrade request.",
        "Exceeded concurrency limit.",
    }
)
AT_MOST: Final = 10  # of each, in a period
PERIOD_S: Final = 10.0


def configure_logging(form: str, level: int = logging.INFO) -> None:
    """Send every record to stderr as JSON or, for people, as coloured text. A repeat replaces."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Bounded())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # These repeat every address they call, with signatures and keys in query strings.
    for noisy in ("httpx", "httpcore", "botocore", "aiobotocore", "boto3", "urllib3", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True


class Bounded(logging.Filter):
    """Lets a few lines of each kind in ANYBODYS through per period.

    The first of the next period says how many there were beyond them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._since: dict[str, float] = {}
        self._said: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        kind = str(record.msg)
        if kind not in ANYBODYS:
            return True
        now = self._clock()
        if now - self._since.get(kind, float("-inf")) >= PERIOD_S:
            if (left_out := self._said[kind] - AT_MOST) > 0:
                record.left_out = left_out
            self._since[kind], self._said[kind] = now, 0
        self._said[kind] += 1
        return self._said[kind] <= AT_MOST
