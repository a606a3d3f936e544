"""The sealed job token in a webhook's URL, and the other names derived from the seal key.

fal signs a delivery's headers and body but not its URL, so a valid delivery for another job
could be aimed at ours; the seal binds the address to one job and one attempt. One key is
configured; each use derives its own from it, so that no token can pass for another kind of name.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from service.domain.errors import Lacks, NotAuthentic

VIDEO: Final = ".mp4"
POSTER: Final = ".jpg"

_TOKEN = re.compile(r"([A-Za-z0-9_-]{1,64})\.([0-9]{1,6})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a token stands for: a job, and which attempt at submitting it."""

    job_id: str
    attempt: int


def seal(key: bytes, sealed: Sealed) -> str:
    """The token for a job's webhook URL: the job's id, the attempt, and a MAC over both."""
    text = f"{sealed.job_id}.{sealed.attempt}"
    return f"{text}.{_mac(key, b'webhook', text)}"


@lru_cache(maxsize=1024)
def unseal(key: bytes, token: str) -> Sealed:
    """What a token stands for. Raises NotAuthentic for anything this service did not seal.

    Remembered, as a request asks twice; what is refused is not.
    """
    match = _TOKEN.fullmatch(token)
    text = token.rpartition(".")[0]
    if match is None or not hmac.compare_digest(match[3], _mac(key, b"webhook", text)):
        raise NotAuthentic("the webhook address carries no valid token", Lacks.ADDRESS)
    return Sealed(match[1], int(match[2]))


def owner_prefix(key: bytes, email: str) -> str:
    """The owner's folder in the bucket. Keyed: a bare hash of an address can be guessed."""
    digest = hmac.new(derived_key(key, b"owner"), email.encode(), hashlib.sha256).hexdigest()
    return f"users/{digest[:32]}"


def owner_name(key: bytes, email: str) -> str:
    """The owner for a log: the name that the bucket knows, not the address."""
    return owner_prefix(key, email).removeprefix("users/")


def library_key(prefix: str, job_id: str) -> str:
    """A function of the job alone, so that every attempt writes the same object."""
    return f"{prefix}/library/{job_id}{VIDEO}"


def poster_key(video_key: str) -> str:
    """Where a video's thumbnail is: beside it, under the same name."""
    return f"{video_key.removesuffix(VIDEO)}{POSTER}"


def is_poster(key: str) -> bool:
    return key.endswith(POSTER)


def job_of(key: str) -> str:
    """The job whose video or thumbnail a library key names."""
    return key.rpartition("/")[2].removesuffix(VIDEO).removesuffix(POSTER)


def _mac(key: bytes, use: bytes, text: str) -> str:
    mac = hmac.new(derived_key(key, use), text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


@lru_cache(maxsize=16)
def derived_key(key: bytes, use: bytes) -> bytes:
    """The seal key of one use: what is sealed for one cannot pass for another."""
    return hmac.new(key, b"fal-video/" + use, hashlib.sha256).digest()
