"""Traces over OTLP/HTTP: one trace per job, whichever processes and attempts it takes.

A job's trace and its root span are named after the job's id, so whoever works on the job joins
its trace and nothing has to be stored or passed along. Needs the extra `tracing`.
"""

import asyncio
import hashlib
import logging
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from threading import Thread
from typing import TYPE_CHECKING, Final

from service.ports.signals import SILENT, Signals, Silent, Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanContext

log = logging.getLogger(__name__)

SERVICE: Final = "fal-video"
FLUSH_S: Final = 5.0  # a stop waits this long for the last spans; the receiver may be away
SEND_S: Final = 5.0
ROOT: Final = Span.ACCEPT
MISSING: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT is set, but no traces are sent: install fal-video[tracing]"
)

_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8

# The names that the root span about to be started is to have.
_named: ContextVar[tuple[int, int] | None] = ContextVar("_named", default=None)


@asynccontextmanager
async def open_tracing(endpoint: str | None, holder: str) -> AsyncIterator[Signals]:
    """Where spans go for the process's life: nowhere without an endpoint, or without the extra."""
    if endpoint is None:
        yield SILENT
        return
    try:
        provider = _provider(endpoint, holder)
    except ImportError:
        log.error(MISSING)  # noqa: TRY400 - where it was looked for helps nobody
        yield SILENT
        return
    try:
        yield Spans(provider)
    finally:
        if not await _shut_down(provider):
            log.warning("the last traces were not sent in time")


async def _shut_down(provider: "TracerProvider") -> bool:
    """Whether it was done in time. In a thread of its own: the loop's would be waited for."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def shut_down() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # the loop is closed: nobody waited so long
            loop.call_soon_threadsafe(done.set)

    Thread(target=shut_down, daemon=True).start()
    try:
        async with asyncio.timeout(FLUSH_S):
            await done.wait()
    except TimeoutError:
        return False
    return True


class Spans(Silent):
    """Implements the spans of ports.Signals."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._tracer = provider.get_tracer(SERVICE)

    @contextmanager
    def span(self, name: Span, job_id: str, **attributes: str | float | bool) -> Iterator[None]:
        """Under the span that is open if it is of this job, else under the job's root."""
        from opentelemetry import trace  # noqa: PLC0415 - the extra may not be installed

        names = job_trace(job_id)
        is_root = name is ROOT
        context = trace.set_span_in_context(trace.INVALID_SPAN)
        if not is_root:
            current = trace.get_current_span()
            joined = current.get_span_context().trace_id == names[0]
            context = trace.set_span_in_context(
                current if joined else trace.NonRecordingSpan(_remote(*names))
            )
        token = _named.set(names if is_root else None)
        try:
            started = self._tracer.start_span(
                name.value, context, attributes={"job_id": job_id, **attributes}
            )
        finally:
            _named.reset(token)
        with trace.use_span(
            started, end_on_exit=True, record_exception=False, set_status_on_exception=False
        ):
            try:
                yield
            except BaseException as error:
                # The class only: a message may say what a trace must not.
                started.set_status(trace.StatusCode.ERROR, type(error).__name__)
                raise


def job_trace(job_id: str) -> tuple[int, int]:
    """The ids of a job's trace and of the trace's root span; never 0, which means none."""
    digest = hashlib.sha256(b"fal-video/trace/" + job_id.encode()).digest()
    trace_id = int.from_bytes(digest[:_TRACE_BYTES], "big")
    return trace_id or 1, int.from_bytes(digest[_TRACE_BYTES:][:_SPAN_BYTES], "big") or 1


def _remote(trace_id: int, span_id: int) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415 - an extra

    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(1))


def _provider(endpoint: str, holder: str) -> "TracerProvider":
    """A provider of our own; the library's global one stays as it is."""
    import requests  # noqa: PLC0415 - these come with the extra
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.id_generator import IdGenerator  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415

    class Ids(IdGenerator):
        def generate_trace_id(self) -> int:
            named = _named.get()
            return random.getrandbits(128) or 1 if named is None else named[0]

        def generate_span_id(self) -> int:
            named = _named.get()
            return random.getrandbits(64) or 1 if named is None else named[1]

    session = requests.Session()
    session.trust_env = False
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=Resource({"service.name": SERVICE, "service.instance.id": holder}),
        id_generator=Ids(),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=SEND_S, session=session)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
