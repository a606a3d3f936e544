"""Deliveries over HTTP as an attacker sends them: 401 or our own 503, no row, no fetch too many."""

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping

import httpx
from nacl.signing import SigningKey

from service.sandbox.signing import signature
from tests.web.deliveries import ACCOUNT, SEED, Signer, inbox, webhook_path
from tests.web.forms import check_problem
from tests.world import World

PREFIX = "x-fal-webhook-"
BODY = (
    b'{"error": null, "payload": {"video": {"url": "https://v3.fal.media/a.mp4"}}, "status": "OK"}'
)
Pairs = list[tuple[bytes, bytes]]


def pairs(headers: Mapping[str, str]) -> Pairs:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


def signed(body: bytes = BODY, request_id: str = "hostile-1") -> Pairs:
    return pairs(Signer().headers(body, request_id=request_id))


async def posted(world: World, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> int:
    answer = await world.http.post(webhook_path("v-hostile"), content=body, headers=[*headers])
    if answer.status_code != 200:
        check_problem(answer, 401, "not_authentic")
    return answer.status_code


async def sent(world: World, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> int:
    """The same without a client that has its own idea of what a header may hold."""
    url: httpx.URL = world.http.base_url
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        f"POST {webhook_path('v-hostile')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n".encode()
        + lines
        + b"\r\n"
        + body
    )
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1])


@contextlib.asynccontextmanager
async def nothing_is_touched(world: World) -> AsyncIterator[None]:
    """No query, no row, and at most the one look at the key set that a minute allows."""
    await world.quiet()
    rows, calls = len(await inbox(world)), world.runtime.store.database.calls
    fetched = (await world.counts())["jwks"]
    yield
    assert world.runtime.store.database.calls == calls
    assert len(await inbox(world)) == rows
    assert (await world.counts())["jwks"] <= fetched + 2, "the first one, and one for the misses"


async def test_a_flip_of_any_byte_of_body_or_header_is_401_and_costs_no_query(
    shared: World,
) -> None:
    """F25: every byte of all that is signed, and of the signature, over HTTP."""
    good, flips = signed(), 0
    async with nothing_is_touched(shared):
        for at in range(len(BODY)):
            body = bytearray(BODY)
            body[at] ^= 1
            assert await posted(shared, bytes(body), good) == 401
            flips += 1
        for number, (name, value) in enumerate(good):
            for at in range(len(value)):
                changed = bytearray(value)
                changed[at] ^= 1
                headers = [*good[:number], (name, bytes(changed)), *good[number + 1 :]]
                assert await posted(shared, BODY, headers) == 401
                flips += 1
    assert flips == len(BODY) + sum(len(value) for _, value in good)


def changed(name: str, *values: bytes | None) -> Pairs:
    """The signed headers, this one replaced by none, one or several others."""
    kept = [pair for pair in signed() if pair[0] != (PREFIX + name).encode()]
    return [*kept, *(((PREFIX + name).encode(), each) for each in values if each is not None)]


def value_of(name: str) -> bytes:
    return dict(signed())[(PREFIX + name).encode()]


NAMES = ("request-id", "user-id", "timestamp", "signature")
HOSTILE: dict[str, Pairs] = {
    **{f"no {name}": changed(name) for name in NAMES},
    **{f"empty {name}": changed(name, b"") for name in NAMES},
    **{f"blank {name}": changed(name, b" \t ") for name in NAMES},
    **{f"{name} with a list": changed(name, value_of(name) + b", x") for name in NAMES},
    **{f"{name} in Latin-1": changed(name, value_of(name) + b"\xe9") for name in NAMES},
    **{f"{name} in UTF-8": changed(name, value_of(name) + "１".encode()) for name in NAMES},  # noqa: RUF001
    **{f"{name} quoted": changed(name, b'"' + value_of(name) + b'"') for name in NAMES},
    **{f"{name} escaped": changed(name, value_of(name) + b"%0a") for name in NAMES},
    **{f"{name} of 10 KB": changed(name, value_of(name) + b"1" * 10_000) for name in NAMES},
    **{f"{name} with a space": changed(name, value_of(name)[:2] + b" ") for name in NAMES},
    "timestamp in milliseconds": changed("timestamp", value_of("timestamp") + b"000"),
    "timestamp negative": changed("timestamp", b"-" + value_of("timestamp")),
    "timestamp signed": changed("timestamp", b"+" + value_of("timestamp")),
    "timestamp as a float": changed("timestamp", value_of("timestamp") + b".0"),
    "timestamp as hex": changed("timestamp", hex(int(value_of("timestamp"))).encode()),
    "timestamp with zeros": changed("timestamp", b"0" + value_of("timestamp")),
    "timestamp of 400 digits": changed("timestamp", b"9" * 400),
    "timestamp NaN": changed("timestamp", b"NaN"),
    "timestamp infinite": changed("timestamp", b"1e400"),
    "signature of an odd length": changed("signature", value_of("signature")[:-1]),
    "signature a byte short": changed("signature", value_of("signature")[:-2]),
    "signature a byte long": changed("signature", value_of("signature") + b"00"),
    "signature in base64": changed(
        "signature", base64.b64encode(bytes.fromhex(value_of("signature").decode()))
    ),
    "signature with a scheme": changed("signature", b"ed25519=" + value_of("signature")),
    "signature 0x": changed("signature", b"0x" + value_of("signature")),
    "signature twice in one": changed("signature", value_of("signature") * 2),
    "signature all zero": changed("signature", b"0" * 128),
}


async def test_no_hostile_header_costs_more_than_a_401(shared: World) -> None:
    """F25, F29: one class of error to the sender for each of them, and nothing written."""
    async with nothing_is_touched(shared):
        for case, headers in HOSTILE.items():
            assert await sent(shared, BODY, headers) == 401, case


def resigned(separator: str, *, end: str = "", body: bytes = BODY) -> Pairs:
    """Signed with fal's own key, over parts that are put together in another way."""
    headers = Signer().headers(body)
    parts = [headers[PREFIX + name] for name in NAMES[:3]]
    text = separator.join([*parts, hashlib.sha256(body).hexdigest()]) + end
    return pairs(
        headers | {PREFIX + "signature": SigningKey(SEED).sign(text.encode()).signature.hex()}
    )


LOADED = json.loads(BODY)
NOT_THE_BODY = {
    "dumped anew without spaces": json.dumps(LOADED, separators=(",", ":")).encode(),
    "dumped anew with indents": json.dumps(LOADED, indent=1).encode(),
    "keys in another order": json.dumps(dict(reversed(LOADED.items()))).encode(),
    "a newline after it": BODY + b"\n",
    "a byte order mark": b"\xef\xbb\xbf" + BODY,
    "Windows newlines": BODY.replace(b", ", b",\r\n"),
    "in UTF-16": BODY.decode().encode("utf-16"),
    "packed": gzip.compress(BODY),
    "twice": BODY * 2,
    "nothing": b"",
}


async def test_what_is_not_signed_byte_for_byte_is_401(shared: World) -> None:
    """F25: other separators, a body dumped anew, a newline more."""
    async with nothing_is_touched(shared):
        for separator in ("", " ", ".", ":", "|", "\r\n", "\\n", "\n\n"):
            assert await posted(shared, BODY, resigned(separator)) == 401, repr(separator)
        assert await posted(shared, BODY, resigned("\n", end="\n")) == 401
        for case, body in NOT_THE_BODY.items():
            assert await posted(shared, body, signed()) == 401, case
        packed = [*signed(), (b"content-encoding", b"gzip")]
        assert await posted(shared, gzip.compress(BODY), packed) == 401


async def test_what_http_allows_to_vary_passes(shared: World) -> None:
    """The case of names and of hex, and blanks around a value, are not the sender's message."""
    for number, headers in enumerate(
        [
            resigned("\n", body=b"[0]"),
            [(name.upper(), value) for name, value in signed(b"[1]")],
            [(name, b"  " + value + b"\t ") for name, value in signed(b"[2]")],
            [
                (name, value.upper() if name.endswith(b"signature") else value)
                for name, value in signed(b"[3]")
            ],
        ]
    ):
        assert await sent(shared, f"[{number}]".encode(), headers) == 200
    await shared.quiet()


async def test_a_request_whose_headers_break_lines_reaches_no_route(shared: World) -> None:
    """F25: newlines in a value, folded lines, names with blanks: refused before any of our code."""
    name = PREFIX.encode() + b"user-id"
    async with nothing_is_touched(shared):
        for bad in (
            (name, b"a\nb"),
            (name, b"a\rb"),
            (name, b"a\0b"),
            (name, b"a\r\n folded"),
            (name + b" ", b"a"),
            (name + b"\r\n" + name, b"a"),
            (b"", b"a"),
        ):
            assert await sent(shared, BODY, [*changed("user-id"), bad]) in {400, 401}, bad


def test_the_emulator_signs_as_these_tests_do() -> None:
    """What is refused above is refused for what was changed, not for how it was signed."""
    headers = Signer().headers(BODY)
    made = signature(
        SigningKey(SEED), "req-1", ACCOUNT, int(headers[PREFIX + "timestamp"]), body=BODY
    )
    assert made == headers[PREFIX + "signature"]
