"""The routes: read the request, call one flow, name the answer."""

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.adapters.image import ImageLimits, inspect_image
from service.domain.canary import is_canary
from service.domain.errors import FieldError, Invalid, TooLarge
from service.domain.seal import unseal
from service.flows.accept import Order, StartImage, accept
from service.flows.cancel import cancel
from service.flows.delete import delete
from service.flows.receive import hint, receive
from service.web.answers import LibraryPage, Receipt, Recorded, TemplateList
from service.web.auth import signed_in
from service.web.bodies import read_body, read_cancel, read_order_form
from service.web.canary import answer_canary
from service.web.events import when_changed
from service.web.limits import OrderRate
from service.web.metrics import acknowledging
from service.web.requests import JOB_ID, job_of, own_job, runtime_of
from service.web.views import credits_view, job_tag, job_view, library_item, template_view

LEDGER_ENTRIES: Final = 20  # in a credits answer
PAGE: Final = 20
MAX_PAGE: Final = 100

_SMALL_NUMBER: Final = re.compile(r"[0-9]{1,4}")
_IDEMPOTENCY_KEY: Final = re.compile(r"^[\x21-\x7e]{1,200}$")


async def submit_video(request: Request) -> Response:
    """POST /api/templates/video: 202 once the job and its reservation are durable."""
    runtime = runtime_of(request)
    email = await signed_in(request, runtime)
    key = request.headers.get("idempotency-key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise Invalid([FieldError("Idempotency-Key", "must be 1 to 200 visible characters")])
    settings = runtime.settings
    rate: OrderRate = request.app.state.order_rate
    rate.take(email)
    form = await read_order_form(request, settings.max_image_bytes)
    limits = ImageLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    facts = await inspect_image(form.image, limits)
    receipt = await accept(
        runtime.services,
        Order(
            email=email,
            template_slug=form.order.template_slug,
            variables=form.order.variables,
            image=StartImage(
                data=form.image, content_type=facts.content_type, extension=facts.extension
            ),
            provider=form.order.provider,
            duration_s=form.order.duration,
            idempotency_key=key,
        ),
    )
    answer: Receipt = {
        "jobId": receipt.job_id,
        "status": receipt.status,
        "credits": receipt.credits,
    }
    return JSONResponse(answer, status_code=202)


async def read_status(request: Request) -> Response:
    """GET /api/templates/video/status: one database read; it never asks fal. May `wait`."""
    runtime = runtime_of(request)
    job = await when_changed(request, await own_job(request, runtime))
    tag = job_tag(runtime.services, job)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return JSONResponse(job_view(runtime.services, job), headers=headers)


async def cancel_video(request: Request) -> Response:
    """POST /api/templates/video/cancel: fal is asked; the reservation waits for its verdict."""
    runtime = runtime_of(request)
    email = await signed_in(request, runtime)
    wanted = await read_cancel(request)
    job = await job_of(email, wanted.job_id, runtime)
    job = await cancel(runtime.services, job.id, wanted.if_finished)
    return JSONResponse(job_view(runtime.services, job), status_code=202)


async def list_templates(request: Request) -> Response:
    """GET /api/templates: what can be made, with which providers and at what price."""
    runtime = runtime_of(request)
    await signed_in(request, runtime)
    allow = runtime.services.policy.allow_retired_providers
    templates = await runtime.services.store.templates()
    settings = runtime.settings
    answer: TemplateList = {
        "templates": [template_view(each, allow_retired=allow) for each in templates],
        "imageLimits": {
            "maxBytes": settings.max_image_bytes,
            "maxPixels": settings.max_image_pixels,
        },
    }
    return JSONResponse(answer)


async def list_library(request: Request) -> Response:
    """GET /api/library: the owner's jobs, newest first, a page at a time."""
    runtime = runtime_of(request)
    email = await signed_in(request, runtime)
    limit = _page_size(request)
    before = request.query_params.get("cursor")
    if before is not None and not JOB_ID.fullmatch(before):
        raise Invalid([FieldError("cursor", "is not one this service gave")])
    jobs = await runtime.services.store.jobs(email, before=before, limit=limit + 1)
    page = jobs[:limit]
    cursor = page[-1].id if len(jobs) > limit else None
    items = [library_item(runtime.services, job) for job in page]
    answer: LibraryPage = {"items": items, "nextCursor": cursor}
    return JSONResponse(answer)


async def delete_video(request: Request) -> Response:
    """DELETE /api/library/{job_id}: 204 once its owner sees it no more; copies go after that."""
    runtime = runtime_of(request)
    email = await signed_in(request, runtime)
    await delete(runtime.services, await job_of(email, request.path_params["job_id"], runtime))
    return Response(status_code=204)


async def read_credits(request: Request) -> Response:
    """GET /api/credits: the balance and the latest ledger entries."""
    runtime = runtime_of(request)
    email = await signed_in(request, runtime)
    store = runtime.services.store
    balance = await store.balance(email)
    return JSONResponse(credits_view(balance, await store.ledger(email, LEDGER_ENTRIES)))


async def receive_delivery(request: Request) -> Response:
    """POST /api/fal/webhook/{token}: 200 once the delivery is durable, however often it comes."""
    runtime = runtime_of(request)
    token = request.path_params["token"]
    if is_canary(token):
        return await answer_canary(request, token)
    with acknowledging(runtime.services.signals):
        # Before a byte of a stranger's body is read.
        unseal(runtime.services.policy.seal_key, token)
        try:
            body = await read_body(request, runtime.settings.max_webhook_bytes)
        except TooLarge:
            await hint(runtime.services, token)
            raise
        with runtime.nudges.arrival():
            created = await receive(runtime.services, token, request.headers, body)
    answer: Recorded = {"recorded": True, "repeated": not created}
    return JSONResponse(answer)


def _page_size(request: Request) -> int:
    text = request.query_params.get("limit", str(PAGE))
    if not (_SMALL_NUMBER.fullmatch(text) and 1 <= int(text) <= MAX_PAGE):
        raise Invalid([FieldError("limit", f"must be a whole number from 1 to {MAX_PAGE}")])
    return int(text)
