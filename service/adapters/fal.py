"""fal's queue over HTTP: one POST per submission, reads for everything else.

fal-client supplies what is safe: request handles, status parsing, its errors. Its own submit is
never called: it repeats the POST after a timeout or a dropped connection, and fal, which has no
idempotency key, then renders and bills twice. Its result() polls without a deadline, so results
are fetched here.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx
from fal_client import AsyncRequestHandle, Completed, FalClientHTTPError
from fal_client.client import AppId

from service.adapters.outbound import tls_context
from service.domain.errors import InputHidden, KeyRefused, Transient
from service.domain.job import JobError, Submission
from service.domain.verdict import (
    Missing,
    Pending,
    Stopped,
    Verdict,
    parse_refusal,
    parse_result,
)
from service.ports import (
    Accepted,
    CancelAnswer,
    Declined,
    Listed,
    NotAccepted,
    SubmitOutcome,
    Unknown,
)

SUBMIT_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)  # fal answers a submit within seconds
SUBMIT_DEADLINE_S: Final = 40.0  # httpx bounds each step; this bounds them together
READ_TIMEOUT_S: Final = 15.0  # one status, result or listing call; bounds fal-client's retries
# Ten thousand requests of one model within a look's few minutes: 40 a second, which takes more
# slots than fal sells without a contract.
LISTING_PAGES: Final = 200
LISTING_PAGE_SIZE: Final = 50
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024  # a video's result is half a kilobyte

# Before a byte of the request was sent, fal cannot have accepted it.
_NOTHING_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.ProxyError,
)
_KEY_REFUSED: Final = frozenset({401, 403})
_LOCKED: Final = frozenset({401, 402, 403})  # a refused key, an empty balance, a locked account
_LATER: Final = frozenset({402, 425, 429})
_TRY_LATER: Final = frozenset({401, 402, 403, 425, 429})
_ENDPOINT_GONE: Final = frozenset({404, 405, 410})
_GONE: Final = frozenset({404, 410})
_UNCLEAR: Final = frozenset({408, 409, 499})


@dataclass(frozen=True, kw_only=True, slots=True)
class FalSettings:
    """Where fal is. Addresses carry no trailing slash."""

    key: str = field(repr=False)
    queue_url: str
    platform_url: str


@asynccontextmanager
async def open_fal(settings: FalSettings) -> AsyncIterator["HttpFal"]:
    """A client for the process's life."""
    async with httpx.AsyncClient(
        headers={"Authorization": f"Key {settings.key}", "Accept": "application/json"},
        timeout=READ_TIMEOUT_S,
        follow_redirects=False,
        trust_env=False,
        verify=tls_context(),
    ) as client:
        yield HttpFal(client, settings)


class HttpFal:
    """Implements ports.Fal."""

    def __init__(self, client: httpx.AsyncClient, settings: FalSettings) -> None:
        self._client = client
        self._settings = settings

    async def submit(
        self, endpoint: str, arguments: Mapping[str, Any], webhook_url: str
    ) -> SubmitOutcome:
        try:
            async with asyncio.timeout(SUBMIT_DEADLINE_S):
                response = await self._client.post(
                    f"{self._settings.queue_url}/{endpoint}",
                    params={"fal_webhook": webhook_url},
                    json=dict(arguments),
                    timeout=SUBMIT_TIMEOUT,
                )
        except _NOTHING_SENT as error:
            return NotAccepted(f"no connection to fal: {type(error).__name__}")
        except (httpx.HTTPError, TimeoutError) as error:
            return Unknown(f"the answer was lost: {type(error).__name__}")
        return _outcome(response)

    async def check(self, endpoint: str, submission: Submission) -> Verdict:
        handle = self._handle(endpoint, submission)
        try:
            async with _reading("status"):
                status = await handle.status()
        except FalClientHTTPError as error:
            if error.status_code == httpx.codes.NOT_FOUND:
                return Missing()
            raise _failure("status", error.status_code) from error
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise Transient(f"fal's status answer is not understood: {error!r}") from error
        if not isinstance(status, Completed):
            return Pending(type(status).__name__)
        return await self._result(handle, status.error_type)

    async def result(self, endpoint: str, submission: Submission) -> Verdict:
        return await self._result(self._handle(endpoint, submission), None)

    async def _result(self, handle: AsyncRequestHandle, error_type: str | None) -> Verdict:
        """`error_type`: what the status said; the result's own headers say it again."""
        async with _reading("result"):
            response = await self._client.get(handle.response_url)
        code = response.status_code
        kind = response.headers.get("x-fal-error-type") or error_type
        verdict = parse_result(code, _json(response), error_type=kind)
        if not isinstance(verdict, Stopped) and (code in _TRY_LATER or code in _UNCLEAR):
            raise _failure("result", code)
        return verdict

    async def cancel(self, endpoint: str, submission: Submission) -> CancelAnswer:
        """As ports.Fal says. fal answers 202, 400 for a request that has ended, or 404."""
        async with _reading("cancel"):
            response = await self._client.put(self._handle(endpoint, submission).cancel_url)
        if response.is_success:
            return CancelAnswer.REQUESTED
        match response.status_code:
            case httpx.codes.BAD_REQUEST:
                return CancelAnswer.TOO_LATE
            case httpx.codes.NOT_FOUND:
                return CancelAnswer.MISSING
            case code:
                raise _failure("cancel", code)

    async def find(
        self,
        endpoint: str,
        needle: str,
        since: datetime,
        until: datetime,
        *,
        forgotten: Collection[str] = (),
    ) -> list[Listed]:
        found: list[Listed] = []
        hidden: set[str] = set()
        params = {
            "endpoint_id": endpoint,
            "start": since.isoformat(),
            "end": until.isoformat(),
            "limit": str(LISTING_PAGE_SIZE),
            "expand": "payloads",  # without it rows come without their input
        }
        for _ in range(LISTING_PAGES):
            async with _reading("listing"):
                response = await self._client.get(
                    f"{self._settings.platform_url}/v1/models/requests/by-endpoint", params=params
                )
            if not response.is_success:
                # A key may render and yet not list: a refusal here says nothing about the key.
                raise Transient(f"fal answered {response.status_code} to a listing request")
            page = _json(response)
            if not isinstance(page, dict):
                raise Transient("fal's listing is not understood")
            rows = _rows(page)
            hidden |= {str(row["request_id"]) for row in rows if row.get("json_input") is None}
            found += [_listed(row) for row in rows if needle in str(row.get("json_input"))]
            cursor = page.get("next_cursor")
            if not cursor:
                break
            params["cursor"] = str(cursor)
        else:
            raise Transient("fal's listing is longer than is read in one go")
        if unknown := hidden.difference(forgotten):
            raise InputHidden(unknown)
        return found

    async def forget(self, request_id: str) -> str | None:
        """As ports.Fal says. It needs the key of an administrator; another one gets 403."""
        url = f"{self._settings.platform_url}/v1/models/requests/{quote(request_id, safe='')}"
        async with _reading("deletion"):
            response = await self._client.delete(f"{url}/payloads")
        code = response.status_code
        if response.is_success:
            return _files_left(_json(response))
        if code in _GONE:
            return None
        if response.is_client_error and code not in _UNCLEAR | _LATER:
            return f"fal answered {code} to a deletion"
        raise Transient(f"fal answered {code} to a deletion")

    def _handle(self, endpoint: str, submission: Submission) -> AsyncRequestHandle:
        """The request's addresses: those fal gave us if they are on its queue, else rebuilt.

        Our key goes to these addresses, so a stored one is only used on the configured host.
        """
        app = AppId.from_endpoint_id(endpoint)
        space = f"{app.namespace}/" if app.namespace else ""
        base = (
            f"{self._settings.queue_url}/{space}{app.owner}/{app.alias}"
            f"/requests/{submission.request_id}"
        )
        return AsyncRequestHandle(
            request_id=submission.request_id,
            response_url=self._own(submission.response_url) or base,
            status_url=self._own(submission.status_url) or f"{base}/status",
            cancel_url=self._own(submission.cancel_url) or f"{base}/cancel",
            client=self._client,
        )

    def _own(self, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            given = urlsplit(url)
        except ValueError:
            return None
        ours = urlsplit(self._settings.queue_url)
        same = (given.scheme, given.netloc) == (ours.scheme, ours.netloc)
        return url if same else None


def _outcome(response: httpx.Response) -> SubmitOutcome:
    """What an answer to a submission means for the job."""
    code = response.status_code
    body = _json(response)
    if response.is_success:
        match body:
            case {"request_id": str(request_id)} if request_id:
                return Accepted(
                    Submission(
                        request_id=request_id,
                        status_url=_text(body.get("status_url")),
                        response_url=_text(body.get("response_url")),
                        cancel_url=_text(body.get("cancel_url")),
                    )
                )
            case _:
                return Unknown("fal accepted, but its answer has no request id")
    if code in _TRY_LATER or response.is_redirect:
        return NotAccepted(f"fal answered {code}", locked=code in _LOCKED)
    if response.is_server_error or code in _UNCLEAR:
        return Unknown(f"fal answered {code}")  # a gateway may answer for a queue that accepted
    return Declined(_refusal(code, body))


def _refusal(code: int, body: Any) -> JobError:
    if code in _ENDPOINT_GONE:
        return JobError(code="provider_gone", message="The provider no longer offers this model.")
    refusal = parse_refusal(code, body)
    if refusal is not None:
        return refusal.error
    return JobError(code="refused_by_provider", message="The provider refused the request.")


@asynccontextmanager
async def _reading(what: str) -> AsyncIterator[None]:
    """One read of fal within its deadline; what goes wrong on the way is Transient."""
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            yield
    except (httpx.HTTPError, TimeoutError) as error:
        raise Transient(f"fal's {what} cannot be read: {type(error).__name__}") from error


def _failure(what: str, code: int) -> Transient:
    kind = KeyRefused if code in _KEY_REFUSED else Transient
    return kind(f"fal answered {code} to a {what} request")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _json(response: httpx.Response) -> Any:
    if len(response.content) > MAX_ANSWER_BYTES:
        return None
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _rows(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a listing. Its envelope is not documented; these are its likely names.

    A row that does not show its input could be the one that is looked for; it has to say at least
    which request it is.
    """
    rows = next((page[name] for name in ("items", "requests", "data") if name in page), None)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Transient("fal's listing is not understood")
    if any(not row.get("request_id") for row in rows):
        raise Transient("fal's listing does not show what was asked")
    return rows


def _files_left(answer: Any) -> str | None:
    """Whether fal says of a file that it could not be deleted. The answer's form is not certain."""
    results = answer.get("cdn_delete_results") if isinstance(answer, dict) else None
    files = results if isinstance(results, list) else []
    left = sum(isinstance(each, dict) and bool(each.get("exception")) for each in files)
    return f"fal could not delete {left} of {len(files)} files" if left else None


def _listed(item: Mapping[str, Any]) -> Listed:
    code = item.get("status_code")
    ended = item.get("ended_at") is not None and isinstance(code, int)
    verdict = parse_result(int(code or 0), item.get("json_output")) if ended else Pending("listed")
    return Listed(request_id=str(item["request_id"]), verdict=verdict)
