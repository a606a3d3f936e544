"""TLS in front of a store, as in production: nginx with a certificate that a test made."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.commands.local import free_port
from tests.parts import program
from tests.world import eventually

CONFIG: Final = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    log_format seen '$request_method $request_uri'
        '|$http_x_amz_content_sha256|$http_content_encoding|$http_transfer_encoding|$http_expect';
    access_log {folder}/access.log seen;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.pem;
        client_max_body_size 0;
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;  # it is part of what is signed
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_buffering off;
        }}
    }}
}}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Secured:
    """A running nginx, and the authority that vouches for it."""

    port: int
    authority: Path
    folder: Path

    def seen(self) -> list[str]:
        """Each request: its line, payload hash, content and transfer encoding, and Expect."""
        return (self.folder / "access.log").read_text("utf-8").splitlines()


@contextlib.asynccontextmanager
async def nginx(folder: Path, upstream: int) -> AsyncIterator[Secured]:
    """https on loopback in front of the store at `upstream`, until the block ends."""
    binary = program("nginx")
    write_certificates(folder)
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, upstream=upstream), "utf-8")
    process = await asyncio.create_subprocess_exec(
        *(binary, "-p", str(folder), "-c", str(config)), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await eventually(lambda: _listening(process, port, folder))
        yield Secured(port=port, authority=folder / "authority.pem", folder=folder)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int, folder: Path) -> bool | None:
    assert process.returncode is None, (folder / "error.log").read_text("utf-8")
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None
    writer.close()
    return True


def write_certificates(folder: Path) -> None:
    """authority.pem to trust, and server.pem (key and certificate) for 127.0.0.1."""
    authority_key, server_key = _key(), _key()
    authority = _certificate("the test's authority", authority_key, authority_key, is_ca=True)
    server = _certificate("127.0.0.1", server_key, authority_key, is_ca=False)
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    secret = server_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(secret + server.public_bytes(pem))


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    signed_by: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the test's authority")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if not is_ca:
        here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([here]), critical=False)
    return builder.sign(signed_by, hashes.SHA256())
