"""The ways a request ends at fal, as result answers and as webhook bodies."""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from service.sandbox.endpoints import problem
from service.sandbox.faults import Fault, FaultPlan
from service.sandbox.records import Json, Verdict

INFRASTRUCTURE: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad_request", "Bad request"),
    499: ("client_cancelled", "Client cancelled the request"),
    500: ("internal_error", "Internal server error"),
    502: ("runner_incomplete_response", "The runner's response was incomplete"),
    503: ("runner_scheduling_failure", "Failed to schedule a runner for the request"),
    504: ("request_timeout", "The request timed out"),
}
_UNSERIALISABLE: Final = (
    "Response payload is not JSON serializable. Either return a JSON serializable object or use "
    "the queue endpoint to retrieve the response."
)
# Above 2**53, so that a reader that keeps numbers as doubles is found out.
_SEED_FLOOR: Final = 2**62


def success(url: str, size: int, plan: FaultPlan) -> Verdict:
    video: Json = {"content_type": "video/mp4", "file_name": "out.mp4", "file_size": size}
    if Fault.NO_URL not in plan:
        video["url"] = url
    return Verdict(body={"video": video, "seed": _SEED_FLOOR + secrets.randbits(62)})


def moved(verdict: Verdict, url: str) -> Verdict:
    """The same success with the video at another address."""
    video = verdict.body["video"]
    assert isinstance(video, dict), "only a success moves"
    return replace(verdict, body={**verdict.body, "video": {**video, "url": url}})


def model_error(entry: Json) -> Verdict:
    """A 422 with fal's structured `detail`."""
    return Verdict(
        body={"detail": [entry]},
        status_code=HTTPStatus.UNPROCESSABLE_ENTITY,
        error="Invalid status code: 422",
        error_type=str(entry["type"]),
        headers={"X-Fal-Retryable": "false"},
    )


def refusal(prompt: str) -> Verdict:
    says = "The content could not be processed because it was flagged by a content checker."
    return model_error(problem(("prompt",), says, "content_policy_violation", prompt))


def infrastructure_error(status: int) -> Verdict:
    """A failure in text, as fal's platform and not a model words it."""
    code, text = INFRASTRUCTURE.get(status, INFRASTRUCTURE[HTTPStatus.INTERNAL_SERVER_ERROR])
    return Verdict(
        body={"detail": text, "error_type": code},
        status_code=status,
        error=text,
        error_type=code,
        headers={"X-Fal-Error-Type": code},
    )


def messages(request_id: str, verdict: Verdict, plan: FaultPlan) -> list[Json]:
    """The webhook bodies that announce `verdict`, in the order they are sent."""
    ids: Json = {"request_id": request_id, "gateway_request_id": request_id}
    told = ids | _told(verdict)
    failed = ids | _told(infrastructure_error(HTTPStatus.INTERNAL_SERVER_ERROR))
    hidden: Json = {"payload": None, "payload_error": _UNSERIALISABLE}
    if not verdict.ok:
        return [told]
    if Fault.NULL_PAYLOAD in plan:
        return [told | hidden]
    if Fault.ERROR_NULL in plan:
        return [told | hidden | {"status": "ERROR", "error": "Invalid status code: 404"}]
    if Fault.ERROR_THEN_OK in plan:
        return [failed, told]
    if Fault.OK_THEN_ERROR in plan:
        return [told, failed]
    return [told]


def _told(verdict: Verdict) -> Json:
    if verdict.ok:
        return {"status": "OK", "error": None, "payload": verdict.body}
    if verdict.structured:
        return {"status": "ERROR", "error": verdict.error, "payload": verdict.body}
    return {
        "status": "ERROR",
        "error": verdict.error,
        "error_type": verdict.error_type,
        "payload": None,
    }
