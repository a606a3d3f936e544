"""Run as a program: an S3 that keeps nothing, so fast that whoever sends is what is measured.

Arguments: a PEM file for its TLS port. Prints its plain and its TLS port, and ends with its
standard input. It checks no signature. It sums no body either, as a store would do that on a
machine of its own: an ETag is the Content-MD5 that the sender gave, or made up if it gave none.
"""

import base64
import itertools
import json
import re
import secrets
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import md5
from io import BufferedReader
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

STANDING: Final = "/_standing"
HEAD_BYTES: Final = 64 * 1024
BODY_BYTES: Final = 1024 * 1024
NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_PART: Final = re.compile(rb"<PartNumber>(\d+)</PartNumber>")

Headers = dict[str, str]
Answer = tuple[int, Headers, bytes]


@dataclass(slots=True)
class Upload:
    """Of a multipart upload: what was said at its begin, and each part's size and MD5."""

    headers: Headers
    parts: dict[int, tuple[int, bytes]] = field(default_factory=dict)


@dataclass(slots=True)
class Kept:
    """What is left of everything sent: names, sizes and sums. One dictionary step is atomic."""

    objects: dict[str, Headers] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    requests: Iterator[int] = field(default_factory=itertools.count)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: Headers


def serve(kept: Kept, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
    """Answer one client's requests until it hangs up."""
    buffer = memoryview(bytearray(BODY_BYTES))
    try:
        if tls is not None:
            connection = tls.wrap_socket(connection, server_side=True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb", HEAD_BYTES) as reader:
            assert isinstance(reader, BufferedReader)
            while request := _request(reader):
                if request.headers.get("expect"):
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                size, last = _body(reader, request, buffer)
                next(kept.requests)
                connection.sendall(_written(request, answer(kept, request, size, last)))
    except OSError:
        pass


def _request(reader: BufferedReader) -> Request | None:
    line = reader.readline().decode("latin-1")
    if not line:
        return None
    method, target, _ = line.split(" ", 2)
    headers = {}
    while (line := reader.readline().decode("latin-1").strip()) != "":
        name, value = line.split(":", 1)
        headers[name.lower()] = value.strip()
    parts = urlsplit(target)
    query = {name: found[0] for name, found in parse_qs(parts.query, True).items()}
    return Request(method=method, path=unquote(parts.path), query=query, headers=headers)


def _body(reader: BufferedReader, request: Request, buffer: memoryview) -> tuple[int, bytes]:
    """Reads the body; its size, and its last piece, which is all of a short one."""
    if "transfer-encoding" in request.headers:
        raise OSError("a body of no known length is nothing that R2 takes")
    size = left = int(request.headers.get("content-length", 0))
    last = b""
    while left:
        taken = reader.readinto(buffer[: min(left, BODY_BYTES)])
        if not taken:
            raise OSError("hung up")
        left -= taken
        last = bytes(buffer[:taken]) if not left and size < BODY_BYTES else b""
    return int(request.headers.get("x-amz-decoded-content-length", size)), last


def answer(kept: Kept, request: Request, size: int, body: bytes) -> Answer:
    """What S3 would say. The methods and queries that no client here sends are a 501."""
    act = _ACTS.get((request.method, *sorted(request.query.keys() & _QUERIES)))
    if request.path == STANDING:
        objects = {name: int(head["Content-Length"]) for name, head in kept.objects.items()}
        standing = {"objects": objects, "unfinished": len(kept.uploads)}
        return 200, {}, json.dumps(standing).encode()
    if act is None:
        return 501, {}, b"<Error><Code>NotImplemented</Code></Error>"
    return act(kept, request, size, body)


def _put(kept: Kept, request: Request, size: int, _: bytes) -> Answer:
    if request.path.strip("/").count("/") == 0:
        return 200, {}, b""  # a bucket
    if "if-none-match" in request.headers and request.path in kept.objects:
        return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
    etag = f'"{_sum(request).hex()}"'
    kept.objects[request.path] = _described(request.headers, size, etag)
    return 200, {"ETag": etag}, b""


def _head(kept: Kept, request: Request, *_: object) -> Answer:
    if request.path.strip("/").count("/") == 0:
        return 200, {}, b""
    found = kept.objects.get(request.path)
    return (404, {}, b"") if found is None else (200, found, b"")


def _begin(kept: Kept, request: Request, *_: object) -> Answer:
    upload_id = secrets.token_hex(16)
    kept.uploads[upload_id] = Upload(headers=request.headers)
    return 200, {}, _named("InitiateMultipartUploadResult", request, UploadId=upload_id)


def _part(kept: Kept, request: Request, size: int, _: bytes) -> Answer:
    digest = _sum(request)
    kept.uploads[request.query["uploadId"]].parts[int(request.query["partNumber"])] = size, digest
    return 200, {"ETag": f'"{digest.hex()}"'}, b""


def _complete(kept: Kept, request: Request, _: int, body: bytes) -> Answer:
    upload = kept.uploads.pop(request.query["uploadId"])
    if sorted(upload.parts) != [int(number) for number in _PART.findall(body)]:
        return 400, {}, b"<Error><Code>InvalidPart</Code></Error>"
    sums = b"".join(digest for _, (_, digest) in sorted(upload.parts.items()))
    etag = f'"{md5(sums, usedforsecurity=False).hexdigest()}-{len(upload.parts)}"'
    size = sum(size for size, _ in upload.parts.values())
    kept.objects[request.path] = _described(upload.headers, size, etag)
    return 200, {}, _named("CompleteMultipartUploadResult", request, ETag=etag)


def _abort(kept: Kept, request: Request, *_: object) -> Answer:
    kept.uploads.pop(request.query["uploadId"], None)
    return 204, {}, b""


def _delete(kept: Kept, request: Request, *_: object) -> Answer:
    kept.objects.pop(request.path, None)
    return 204, {}, b""


_QUERIES: Final = frozenset({"uploads", "uploadId", "partNumber"})
_ACTS: Final[dict[tuple[str, ...], Callable[[Kept, Request, int, bytes], Answer]]] = {
    ("PUT",): _put,
    ("HEAD",): _head,
    ("POST", "uploads"): _begin,
    ("PUT", "partNumber", "uploadId"): _part,
    ("POST", "uploadId"): _complete,
    ("DELETE", "uploadId"): _abort,
    ("DELETE",): _delete,
}


def _sum(request: Request) -> bytes:
    told = request.headers.get("content-md5")
    return base64.b64decode(told) if told else secrets.token_bytes(16)


def _described(headers: Headers, size: int, etag: str) -> Headers:
    kept = {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
    modified = formatdate(usegmt=True)
    return {**kept, "Content-Length": str(size), "ETag": etag, "Last-Modified": modified}


def _named(root: str, request: Request, **more: str) -> bytes:
    bucket, key = request.path.strip("/").split("/", 1)
    told = {"Bucket": bucket, "Key": key, **more}
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in told.items())
    return f'<{root} xmlns="{NAMESPACE}">{inner}</{root}>'.encode()


def _written(request: Request, answered: Answer) -> bytes:
    status, headers, body = answered
    told = {"Content-Type": "application/xml", "Content-Length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in told.items())]
    assert request.method != "HEAD" or not body
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def listen(kept: Kept, tls: ssl.SSLContext | None) -> int:
    """The port on loopback where clients are served, each by a thread of its own."""
    server = socket.create_server(("127.0.0.1", 0), backlog=128)

    def accept() -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=serve, args=(kept, connection, tls), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(server.getsockname()[1])


def main(certificate: str) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    kept = Kept()
    sys.stdout.write(f"{listen(kept, None)} {listen(kept, tls)}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
