"""Authentic deliveries made in advance, as the bytes that a load generator sends.

A file of requests is each request's length on a line of its own, and then the request.
"""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.store.bench import request_of
from tests.web.deliveries import Signer, webhook_token

OURS: Final = "/api/fal/webhook/"
BARE: Final = "/webhook/"

_SIGNER: Final = Signer()
_numbers: Final = itertools.count(1)

# Sends each request once, or all of them again and again. One too many is answered 404, which makes
# the whole run count as failed.
_LUA: Final = """
local requests, at, again = {}, 0, %s
function init(args)
  local file = assert(io.open("%s", "rb"))
  while true do
    local length = file:read("*l")
    if not length then break end
    requests[#requests + 1] = file:read(tonumber(length))
  end
  file:close()
end
function request()
  at = again and at %% #requests + 1 or at + 1
  return requests[at] or wrk.format("GET", "/no-more-requests")
end
"""


def deliveries(jobs: Sequence[str], count: int, root: str) -> list[bytes]:
    """So many deliveries signed now, no two the same, in turn for each of the jobs.

    They repeat what their jobs' own requests came to, so that handling one is short.
    """
    return [_delivery(job_id, root) for job_id in itertools.islice(itertools.cycle(jobs), count)]


def _delivery(job_id: str, root: str) -> bytes:
    request_id = request_of(job_id)
    told = {
        "error": None,
        "gateway_request_id": f"{request_id}-{next(_numbers)}",
        "payload": {
            "seed": 1_402_593_117,
            "video": {
                "content_type": "video/mp4",
                "file_name": "output.mp4",
                "file_size": 4_837_201,
                "url": "https://v3.fal.media/files/a/b.mp4",
            },
        },
        "request_id": request_id,
        "status": "OK",
    }
    body = json.dumps(told).encode()
    headers = {
        "Content-Type": "application/json",
        **_SIGNER.headers(body, request_id=request_id),
    }
    return request("POST", root + webhook_token(job_id), headers, body)


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A whole HTTP request, as it goes over the wire."""
    length = {"Content-Length": str(len(body))} if body else {}
    said = "".join(
        f"{name}: {value}\r\n"
        for name, value in ({"Host": "localhost"} | length | dict(headers)).items()
    )
    return f"{method} {path} HTTP/1.1\r\n{said}\r\n".encode() + body


def write_requests(file: Path, requests: Iterable[bytes]) -> Path:
    file.write_bytes(b"".join(b"%d\n%b" % (len(each), each) for each in requests))
    return file


def read_requests(file: Path) -> list[bytes]:
    data, found, at = file.read_bytes(), [], 0
    while at < len(data):
        start = data.index(b"\n", at) + 1
        at = start + int(data[at : start - 1])
        found.append(data[start:at])
    return found


def lua_script(file: Path, requests: Iterable[bytes], *, again: bool = False) -> Path:
    """A script for wrk that sends these requests, each once, or in turn for as long as it runs."""
    write_requests(file.with_suffix(".requests"), requests)
    file.write_text(_LUA % (str(again).lower(), file.with_suffix(".requests")), "utf-8")
    return file
