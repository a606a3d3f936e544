"""The stream below the guarded client, against a server that need not speak HTTP."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path

import httpcore
import pytest

from service.adapters.outbound_stream import BUFFER_BYTES, Backend, Stream
from tests.r2.tls import write_certificates
from tests.transfer.servers import Serve, ServerThread
from tests.world import eventually

HERE = "127.0.0.1"
CONTENT = bytes(range(256)) * 4 * 1024 * 8  # 8 MiB: many buffers, and more than sockets hold


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_certificates(tmp_path)
    return tmp_path


@pytest.fixture
def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "authority.pem")


@pytest.fixture
def server(folder: Path) -> Iterator["TlsServer"]:
    thread = ServerThread()
    yield TlsServer(thread, folder)
    thread.stop()


class TlsServer:
    """Listens; what it serves is told for each port."""

    def __init__(self, thread: ServerThread, folder: Path) -> None:
        self.thread = thread
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "server.pem")

    def sends(self, content: bytes, *, first: bytes = b"", tls: bool = True) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                writer.write(first)
                if tls:
                    await writer.start_tls(self._context)
                writer.write(content)
                await writer.drain()
                writer.close()
            except (OSError, ssl.SSLError):
                writer.transport.abort()

        return self.thread.listen(serve)


async def opened(port: int, trusting: ssl.SSLContext, name: str = HERE) -> Stream:
    stream = await Backend().connect_tcp(HERE, port, timeout=10)
    return await stream.start_tls(trusting, name, timeout=10)


async def all_of(stream: Stream) -> bytes:
    pieces = []
    while piece := await stream.read(1, timeout=10):
        assert len(piece) <= BUFFER_BYTES
        pieces.append(piece)
    await stream.aclose()
    return b"".join(pieces)


async def test_what_is_sent_arrives_encrypted_or_not(
    server: TlsServer, trusting: ssl.SSLContext
) -> None:
    assert await all_of(await opened(server.sends(CONTENT), trusting)) == CONTENT
    plain = await Backend().connect_tcp(HERE, server.sends(CONTENT, tls=False))
    assert await all_of(plain) == CONTENT


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain"])
async def test_a_reader_that_pauses_holds_the_sender_up_and_loses_nothing(
    server: TlsServer, trusting: ssl.SSLContext, *, tls: bool
) -> None:
    port = server.sends(CONTENT, tls=tls)
    stream = await (opened(port, trusting) if tls else Backend().connect_tcp(HERE, port))
    held = stream._arrivals

    async def full() -> bool | None:
        return held._paused or None

    await eventually(full)
    for _ in range(50):
        await asyncio.sleep(0)
    assert held._filled <= BUFFER_BYTES
    assert await all_of(stream) == CONTENT


async def test_a_certificate_for_another_name_or_of_nobody_known_is_refused(
    server: TlsServer, trusting: ssl.SSLContext
) -> None:
    port = server.sends(CONTENT)
    with pytest.raises(httpcore.ConnectError, match="verify failed"):
        await opened(port, trusting, "v3.fal.media")
    with pytest.raises(httpcore.ConnectError, match="verify failed"):
        await opened(port, ssl.create_default_context())


async def test_what_came_before_the_encryption_is_never_taken_for_content(
    server: TlsServer, trusting: ssl.SSLContext
) -> None:
    port = server.sends(b"honest", first=b"HTTP/1.1 200 OK\r\n\r\n")
    stream = await Backend().connect_tcp(HERE, port)
    await stream._arrivals.wait()
    try:
        encrypted = await stream.start_tls(trusting, HERE, timeout=10)
    except httpcore.ConnectError:
        return
    assert await all_of(encrypted) == b"honest"


async def test_silence_and_a_reset_are_told_apart(server: TlsServer) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        at_once = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writer.transport.abort()

    stream = await _connected(server, silent)
    with pytest.raises(httpcore.ReadTimeout):
        await stream.read(1, timeout=0.01)
    with pytest.raises(httpcore.ConnectTimeout):
        await stream.start_tls(ssl.create_default_context(), HERE, timeout=0.01)

    stream = await _connected(server, reset)
    await stream.write(b"reset")
    with pytest.raises(httpcore.ReadError):
        await stream.read(1, timeout=10)
    with pytest.raises(httpcore.WriteError):
        await stream.write(b"more")
    await stream.aclose()


async def _connected(server: TlsServer, serve: Serve) -> Stream:
    return await Backend().connect_tcp(HERE, server.thread.listen(serve))
