"""What fal calls, what watches over the service, and the files of its pages."""

from typing import Final

from service.domain import errors
from service.web.answers import Alive, Ready, Recorded
from service.web.described import Answer, Body, Caller, Described, Parameter, Plain
from service.web.documented.common import FILE, PAGE, SLOW, TAG

PROVIDER: Final = (
    Described(
        method="POST",
        path="/api/fal/webhook/{token}",
        id="receiveDelivery",
        group="Provider",
        summary="A delivery of fal's",
        about=(
            "Stored before it is answered; whatever its body is, it is kept as it came. The address"
            " answers with a slash at its end as well, since fal follows no redirect."
        ),
        caller=Caller.FAL,
        parameters=(
            Parameter(
                name="token",
                place="path",
                about="the job and the attempt, sealed",
                required=True,
                example="v0.1.x",
            ),
            *(
                Parameter(name=f"X-Fal-Webhook-{each}", place="header", about=about, required=True)
                for each, about in (
                    ("Request-Id", "which request it is about"),
                    ("User-Id", "whose request it is"),
                    ("Timestamp", "when it was signed, in seconds"),
                )
            ),
        ),
        body=Body(),
        answers={200: Answer(about="It is durable, however often it comes.", model=Recorded)},
        refusals=(errors.NotAuthentic, SLOW, errors.TooLarge, errors.Transient),
    ),
)

SERVICE: Final = (
    Described(
        method="GET",
        path="/health/live",
        id="live",
        group="Service",
        summary="Does the process answer?",
        caller=Caller.ANYBODY,
        answers={200: Answer(about="It does.", model=Alive)},
    ),
    Described(
        method="GET",
        path="/health/ready",
        id="ready",
        group="Service",
        summary="Can the process do its work?",
        caller=Caller.ANYBODY,
        answers={200: Answer(about="It can.", model=Ready)},
        refusals=(Plain(status=503, code="not_ready"),),
    ),
    Described(
        method="GET",
        path="/metrics",
        id="readMetrics",
        group="Service",
        summary="How it is doing, for Prometheus",
        about="From this machine, or with METRICS_TOKEN; for anybody else there is no such path.",
        caller=Caller.MONITOR,
        answers={200: Answer(about="Prometheus's text format.", text="text/plain")},
        refusals=(errors.NotFound, errors.Transient),
    ),
    Described(
        method="GET",
        path="/openapi.json",
        id="readDocument",
        group="Service",
        summary="This document",
        caller=Caller.ANYBODY,
        parameters=(Parameter(name="If-None-Match", place="header", about="the last ETag"),),
        answers={
            200: Answer(about="OpenAPI 3.1.", model=dict[str, object], headers={"ETag": TAG}),
            304: Answer(about="It is the same.", headers={"ETag": TAG}),
        },
    ),
    Described(
        method="GET",
        path="/docs",
        id="readDocs",
        group="Service",
        summary="This document, to read",
        caller=Caller.ANYBODY,
        answers={200: PAGE},
    ),
    Described(
        method="GET",
        path="/",
        id="readPage",
        group="Service",
        summary="The designer page",
        caller=Caller.ANYBODY,
        answers={200: PAGE},
    ),
    Described(
        method="GET",
        path="/frontend/{path}",
        id="readFile",
        group="Service",
        summary="A file of the pages",
        about="Other sites may import the client from here.",
        caller=Caller.ANYBODY,
        parameters=(
            Parameter(
                name="path",
                place="path",
                about="may have slashes",
                required=True,
                example="video-client.js",
            ),
        ),
        answers=FILE,
        refusals=(errors.NotFound,),
    ),
)
