"""Traces, received by a real OTLP/HTTP receiver on loopback."""

import builtins
import http.server
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from service.adapters.tracing import MISSING, job_trace, open_tracing
from service.ports import SILENT
from service.ports import signals as ports
from service.sandbox.object_store import ObjectStore
from tests.world import OWNER, open_world


class Receiver:
    """Keeps every span that is sent to it."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services = set[str]()
        self.url = ""

    def keep(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for each in request.resource_spans:
            named = {one.key: one.value.string_value for one in each.resource.attributes}
            self.services.add(named["service.instance.id"])
            for scope in each.scope_spans:
                self.spans += scope.spans

    def of(self, job_id: str) -> list[Span]:
        return [
            span
            for span in self.spans
            if any(
                each.key == "job_id" and each.value.string_value == job_id
                for each in span.attributes
            )
        ]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            receiver.keep(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@asynccontextmanager
async def opened(receiver: Receiver, holder: str) -> AsyncIterator[ports.Signals]:
    async with open_tracing(receiver.url, holder) as spans:
        yield spans


async def test_a_jobs_steps_are_one_trace_from_the_order_to_the_library(s3: ObjectStore) -> None:
    with receiving() as receiver:
        async with open_world(s3, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url) as world:
            await world.grant(100)
            first, second = await world.submit(), await world.submit(brand="Other")
            for job_id in (first, second):
                await world.until_state(job_id, "ready")
            await world.quiet()

        for job_id in (first, second):
            spans = receiver.of(job_id)
            trace_id, root_id = job_trace(job_id)
            assert {int.from_bytes(each.trace_id, "big") for each in spans} == {trace_id}
            steps = {each.name for each in spans}
            assert steps >= {"accept", "submit", "receive", "handle", "finalise", "copy", "settle"}
            (root,) = [each for each in spans if not each.parent_span_id]
            assert (root.name, int.from_bytes(root.span_id, "big")) == ("accept", root_id)
            known = {each.span_id for each in spans}
            assert {each.parent_span_id for each in spans} <= known | {b""}
            (final,) = [each for each in spans if each.name == "finalise"]
            (copy,) = [each for each in spans if each.name == "copy"]
            assert copy.parent_span_id == final.span_id
        assert OWNER not in str(receiver.spans)
        assert "X-Amz" not in str(receiver.spans)


async def test_another_processs_steps_join_the_trace() -> None:
    with receiving() as receiver:
        async with opened(receiver, "web") as web:
            with web.span(ports.Span.ACCEPT, "v1"):
                pass
        async with opened(receiver, "sidecar") as sidecar:
            with (
                pytest.raises(ZeroDivisionError),
                sidecar.span(ports.Span.FINALISE, "v1", attempt=2),
            ):
                raise ZeroDivisionError("a secret")
            with sidecar.span(ports.Span.FINALISE, "v1"), sidecar.span(ports.Span.CHECK, "v2"):
                pass

    assert receiver.services == {"web", "sidecar"}
    root, failed, _ = receiver.of("v1")
    (other,) = receiver.of("v2")
    assert failed.trace_id == root.trace_id
    assert failed.parent_span_id == root.span_id
    assert (failed.status.code, failed.status.message) == (
        Status.STATUS_CODE_ERROR,
        "ZeroDivisionError",
    )
    assert int.from_bytes(other.trace_id, "big") == job_trace("v2")[0], "its own job's trace"


@pytest.mark.thorough
async def test_a_receiver_that_is_away_holds_nothing_up() -> None:
    async with open_tracing("http://127.0.0.1:9", "web") as spans:
        with spans.span(ports.Span.ACCEPT, "v1"):
            pass


async def test_without_the_extra_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    async with open_tracing("http://127.0.0.1:9", "web") as spans:
        assert spans is SILENT
    assert [each.getMessage() for each in caplog.records] == [MISSING]
    caplog.clear()
    async with open_tracing(None, "web") as spans:
        assert spans is SILENT
    assert not caplog.records
