"""Schemathesis against a running service, in a process of its own: what it did, and what broke.

Reads Drives as JSON from stdin, writes their Outcomes as JSON to stdout. Its hooks and its threads
stay out of the tests' process, and its work out of the service's.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import requests
import schemathesis
from hypothesis import strategies as st
from nacl.signing import SigningKey
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.specs.openapi.schemas import OpenApiSchema
from schemathesis.transport.serialization import Binary

from tests.web.deliveries import Signer
from tests.world import png

OPERATORS: Final = "/ops/api/"
WEBHOOK: Final = "/api/fal/webhook/{token}"
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "ignored_auth",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
)
# Beside schemathesis' own: what a form or a size is refused with.
REJECTIONS: Final = ["400", "401", "403", "404", "406", "409", "410", "413", "415", "422", "429"]
COLOURS: Final = ("teal", "red")
SEED: Final = 20_260_924


@dataclass(frozen=True, kw_only=True)
class Drive:
    """What to do: with a sign-in and fal's signature where those are given, else as a stranger."""

    url: str
    document: dict[str, Any]
    phases: list[str]
    examples: int
    steps: int = 6
    bearer: str | None = None
    operator: str | None = None  # the cookie of a signed-in operator
    fal_key: str | None = None  # hex
    fal_token: str | None = None


@dataclass(kw_only=True)
class Outcome:
    """How often each operation was answered with which status, and what was wrong."""

    took_s: float = 0.0
    answers: dict[str, dict[str, int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


class FalAuth(requests.auth.AuthBase):
    """Makes of any body an authentic delivery about a job that exists."""

    def __init__(self, key: bytes, token: str) -> None:
        self._signer = Signer(SigningKey(key))
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        assert isinstance(body, str | bytes)
        signed = self._signer.headers(body.encode() if isinstance(body, str) else body)
        request.headers.update(signed)
        head, _, _ = (request.url or "").partition("/api/fal/webhook/")
        request.url = f"{head}/api/fal/webhook/{self._token}"
        return request


class HeaderAuth(requests.auth.AuthBase):
    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._headers)
        return request


def drive(order: Drive) -> Outcome:
    schema = schemathesis.openapi.from_dict(order.document, config=_config(order))
    assert isinstance(schema, OpenApiSchema)
    _sign(schema, order)
    outcome, began = Outcome(), time.monotonic()
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished(recorder=recorder):
                _count(recorder, outcome)
                outcome.failures += _failures(recorder)
            case events.NonFatalError(info=info, label=label):
                outcome.failures.append(f"{label}: {info}")
            case events.FatalError(exception=exception):
                outcome.failures.append(f"fatal: {exception!r}")
            case _:
                pass  # that something has begun
    outcome.failures = sorted(set(outcome.failures))
    outcome.took_s = time.monotonic() - began
    return outcome


def _sign(schema: OpenApiSchema, order: Drive) -> None:
    if order.bearer is not None:
        user = HeaderAuth({"Authorization": f"Bearer {order.bearer}"})
        schema.auth.set_from_requests(user).apply_to(path_regex="^/api/(?!fal/)")
    if order.operator is not None:
        operator = HeaderAuth({"Cookie": order.operator, "Origin": order.url.rstrip("/")})
        schema.auth.set_from_requests(operator).apply_to(path_regex=f"^{OPERATORS}")
    if order.fal_key is not None and order.fal_token is not None:
        authentic = FalAuth(bytes.fromhex(order.fal_key), order.fal_token)
        schema.auth.set_from_requests(authentic).apply_to(path=WEBHOOK)


def _count(recorder: ScenarioRecorder, outcome: Outcome) -> None:
    for case_id, node in recorder.cases.items():
        label = node.value.operation.label
        answer = recorder.find_response(case_id=case_id)
        code = "none" if answer is None else str(answer.status_code)
        answers = outcome.answers.setdefault(label, {})
        answers[code] = answers.get(code, 0) + 1


def _config(order: Drive) -> schemathesis.Config:
    phases = {
        name: {"enabled": name in order.phases}
        for name in ("examples", "coverage", "fuzzing", "stateful")
    }
    return schemathesis.Config.from_dict(
        {
            "base-url": order.url,
            "seed": SEED,
            "workers": 1,
            "continue-on-failure": True,
            "request-timeout": 15,
            "max-stream-events": 100,
            "cache": {"enabled": False},
            "generation": {
                "deterministic": True,
                "database": "none",
                "no-shrink": True,
                "max-examples": order.examples,
                "unique-inputs": True,
            },
            "phases": {
                **phases,
                "examples": {**phases["examples"], "fill-missing": True},
                "coverage": {**phases["coverage"], "unexpected-methods": ["PUT", "OPTIONS"]},
                "stateful": {**phases["stateful"], "max-steps": order.steps},
            },
            # Signing replaces the headers and the address that were generated. An operator's wrong
            # tokens are answered 429 after ten of them; who has none gets 401, as a test here says.
            "operations": [
                {
                    "include-path": WEBHOOK,
                    "checks": {"negative_data_rejection": {"enabled": order.fal_key is None}},
                },
                {
                    "include-path-regex": f"^{OPERATORS}",
                    "checks": {"ignored_auth": {"enabled": False}},
                },
            ],
            "checks": {
                "enabled": False,
                **{name: {"enabled": True} for name in CHECKS},
                "negative_data_rejection": {"enabled": True, "expected-statuses": REJECTIONS},
            },
        }
    )


def _failures(recorder: ScenarioRecorder) -> Iterator[str]:
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is None:
                continue
            info = check.failure_info
            answer = recorder.find_response(case_id=info.failure.case_id or case_id)
            said = "" if answer is None else f"{answer.status_code} {answer.content[:300]!r}"
            yield (
                f"{recorder.label}: {check.name}: {info.failure.title}: {info.failure.message}\n"
                f"  {info.code_sample}\n  {said}"
            )


def main() -> None:
    images = st.sampled_from([png(each) for each in COLOURS])
    schemathesis.openapi.format("binary", st.one_of(images, images, st.binary()).map(Binary))
    given: list[dict[str, Any]] = json.load(sys.stdin)
    json.dump([asdict(drive(Drive(**each))) for each in given], sys.stdout)


if __name__ == "__main__":
    main()
