"""The failures that can be asked for, one table, and the parser of what asks for them.

A plan is written `drop, delay=5`. It reaches a submission by the header `X-Sandbox-Faults`, by
a token in the prompt (`#sandbox:drop,delay=5`, up to the next blank) or by `POST /sandbox/faults`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

HEADER: Final = "X-Sandbox-Faults"
_TOKEN: Final = re.compile(r"#sandbox:([\w=.,]*\w)")
_NUMBER: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,6})?")


class Fault(StrEnum):
    QUEUE = "queue"
    DELAY = "delay"
    CANCEL_IGNORED = "cancel_ignored"
    DROP = "drop"
    DUPLICATE = "duplicate"
    EARLY = "early"
    LATE = "late"
    WRONG_KEY = "wrong_key"
    OTHER_ACCOUNT = "other_account"
    STALE = "stale"
    TAMPER = "tamper"
    REDIRECTED = "redirected"
    REFUSE = "refuse"
    ERROR = "error"
    ERROR_THEN_OK = "error_then_ok"
    OK_THEN_ERROR = "ok_then_error"
    NULL_PAYLOAD = "null_payload"
    ERROR_NULL = "error_null"
    NO_URL = "no_url"
    SUBMIT_DROP = "submit_drop"
    SUBMIT_502 = "submit_502"
    SUBMIT_SLOW = "submit_slow"
    SUBMIT_401 = "submit_401"
    SUBMIT_403 = "submit_403"
    SUBMIT_422 = "submit_422"
    SUBMIT_429 = "submit_429"
    SUBMIT_503 = "submit_503"
    DOUBLE_ACCEPT = "double_accept"
    TRUNCATED = "truncated"
    SHORT = "short"
    SLOW_FILE = "slow_file"
    STALLED_FILE = "stalled_file"
    HTML = "html"
    EMPTY_FILE = "empty_file"
    GONE = "gone"
    GONE_ONCE = "gone_once"
    FILE_503 = "file_503"
    HUGE = "huge"
    ENDLESS = "endless"
    REDIRECT_PRIVATE = "redirect_private"
    REDIRECT = "redirect"
    BYTES = "bytes"
    PAYLOADS_403 = "payloads_403"
    PAYLOADS_503 = "payloads_503"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a fault does. `unit` empty: takes no value; `default` None: the value is required."""

    says: str
    unit: str = ""
    default: float | None = None


# fmt: off
MEANINGS: Final[Mapping[Fault, Meaning]] = {
    # the request's life
    Fault.QUEUE: Meaning("stay IN_QUEUE at least this long", "seconds"),
    Fault.DELAY: Meaning("render this much longer", "seconds"),
    Fault.CANCEL_IGNORED: Meaning("answer 202 to a cancel and complete all the same"),
    # the webhook
    Fault.DROP: Meaning("never send the webhook"),
    Fault.DUPLICATE: Meaning("send the webhook this often at the same time", "copies", 2),
    Fault.EARLY: Meaning("finish and send the webhook before the submission is answered"),
    Fault.LATE: Meaning("send the webhook this long after completion", "seconds"),
    Fault.WRONG_KEY: Meaning("sign with a key that the key set does not list"),
    Fault.OTHER_ACCOUNT: Meaning("sign validly, but for another fal account"),
    Fault.STALE: Meaning("sign validly with a timestamp ten minutes old"),
    Fault.TAMPER: Meaning("change one byte of the body after signing"),
    Fault.REDIRECTED: Meaning("send it to a proxy that answers 308, which fal never follows"),
    # the verdict
    Fault.REFUSE: Meaning("refuse the prompt: structured 422, content_policy_violation"),
    Fault.ERROR: Meaning("fail like infrastructure: text only, payload null", "status", 500),
    Fault.ERROR_THEN_OK: Meaning("a webhook with ERROR, then one with OK; the result is OK"),
    Fault.OK_THEN_ERROR: Meaning("a webhook with OK, then one with ERROR; the result is OK"),
    Fault.NULL_PAYLOAD: Meaning("OK, payload null and payload_error; the result works"),
    Fault.ERROR_NULL: Meaning("ERROR, payload null and payload_error; the result works"),
    Fault.NO_URL: Meaning("OK, but the video has no url, in the result too"),
    # the submission: accepted
    Fault.SUBMIT_DROP: Meaning("accept, then close the connection without an answer"),
    Fault.SUBMIT_502: Meaning("accept, then answer a proxy's 502 page"),
    Fault.SUBMIT_SLOW: Meaning("accept, then answer this late", "seconds"),
    Fault.DOUBLE_ACCEPT: Meaning("accept twice: two requests, the answer names the first"),
    # the submission: not accepted, for so many tries of the same prompt, image and endpoint
    Fault.SUBMIT_401: Meaning("refuse the key", "tries", 1),
    Fault.SUBMIT_403: Meaning("say that the account is locked", "tries", 1),
    Fault.SUBMIT_422: Meaning("say that the input is invalid", "tries", 1),
    Fault.SUBMIT_429: Meaning("say that there were too many requests", "tries", 1),
    Fault.SUBMIT_503: Meaning("say that no runner could be scheduled", "tries", 1),
    # the file
    Fault.TRUNCATED: Meaning("announce the full length, close the connection half way"),
    Fault.SHORT: Meaning("announce no length and end properly half way"),
    Fault.SLOW_FILE: Meaning("serve slowly", "bytes per second"),
    Fault.STALLED_FILE: Meaning("serve half, then nothing more, the connection stays open"),
    Fault.HTML: Meaning("serve a web page as video/mp4"),
    Fault.EMPTY_FILE: Meaning("serve no bytes"),
    Fault.GONE: Meaning("answer 404"),
    Fault.GONE_ONCE: Meaning("answer 404; a result asked for after that has a new, good URL"),
    Fault.FILE_503: Meaning("answer 503 this often, then serve", "times", 1),
    Fault.HUGE: Meaning("announce 10 GiB"),
    Fault.ENDLESS: Meaning("announce no length and never end"),
    Fault.REDIRECT_PRIVATE: Meaning("redirect to the cloud metadata address"),
    Fault.REDIRECT: Meaning("redirect to the good file"),
    Fault.BYTES: Meaning("pad the video to this size with a free box; it stays valid", "bytes"),
    # the deletion of its payloads
    Fault.PAYLOADS_403: Meaning("say that the key is no administrator's, so often", "times", 1),
    Fault.PAYLOADS_503: Meaning("answer 503 this often, then delete", "times", 1),
}
# fmt: on


class UnknownFaultError(ValueError):
    """A plan that cannot be read; the message names the part."""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The failures asked of one submission, with their values."""

    values: Mapping[Fault, float] = field(default_factory=dict)

    def __contains__(self, fault: object) -> bool:
        return fault in self.values

    def number(self, fault: Fault) -> float:
        """The fault's value, 0 when it was not asked for."""
        return self.values.get(fault, 0)

    def joined(self, other: "FaultPlan") -> "FaultPlan":
        """Both plans; where both name a fault, the other's value wins."""
        return FaultPlan({**self.values, **other.values})

    def __str__(self) -> str:
        return ",".join(
            f"{fault}={_plain(value)}" if MEANINGS[fault].unit else str(fault)
            for fault, value in self.values.items()
        )


def parse(text: str) -> FaultPlan:
    """Read `drop, delay=5`. Raises UnknownFaultError; an empty text is the empty plan."""
    parts = [part.strip() for part in text.split(",")]
    return FaultPlan(dict(_read(part) for part in parts if part))


def from_prompt(prompt: str) -> FaultPlan:
    """The plan that the prompt's `#sandbox:` tokens name. Raises UnknownFaultError."""
    return parse(",".join(_TOKEN.findall(prompt)))


def describe() -> dict[str, str]:
    """Every fault in a line, for people."""
    return {
        f"{fault}={meaning.unit.upper().replace(' ', '_')}" if meaning.unit else str(fault): (
            meaning.says
        )
        for fault, meaning in MEANINGS.items()
    }


def _plain(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)


def _read(part: str) -> tuple[Fault, float]:
    name, equals, value = (piece.strip() for piece in part.partition("="))
    if name not in set(Fault):
        raise UnknownFaultError(f"unknown fault {name!r}; known are {', '.join(Fault)}")
    fault = Fault(name)
    meaning = MEANINGS[fault]
    if not meaning.unit and equals:
        raise UnknownFaultError(f"{name} takes no value")
    if equals:
        if not _NUMBER.fullmatch(value):
            raise UnknownFaultError(f"{name} needs a number of {meaning.unit}, not {value!r}")
        return fault, float(value)
    if meaning.unit and meaning.default is None:
        raise UnknownFaultError(f"{name} needs a number of {meaning.unit}")
    return fault, float(meaning.default or 0)
