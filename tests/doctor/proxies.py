"""nginx in front of the webhook, with the mistakes that lose fal's deliveries."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from tests.parts import free_ports, program
from tests.r2.tls import write_certificates
from tests.world import eventually

PASS: Final = "location / { proxy_pass http://127.0.0.1:%d; }"
LOCATION: Final = "location / { %s proxy_pass http://127.0.0.1:%%d; }"

# What each does in place of passing every delivery on as it is.
MISTAKES: Final = {
    "honest": PASS,
    "rewriting the slash": LOCATION % "rewrite ^(.*[^/])/?$ $1/ break;",
    "redirecting": "return 308 https://www.elsewhere.example$request_uri?token=1;",
    "redirecting the slash": "rewrite ^(.*)/$ $1 permanent; " + PASS,
    "small body limit": "client_max_body_size 64k; " + PASS,
    "rewriting bodies": LOCATION % 'proxy_set_body "$request_body ";',
    "dropping a header": LOCATION % 'proxy_set_header X-Fal-Webhook-Signature "";',
    "changing a header": LOCATION % "proxy_set_header Content-Type text/plain;",
    "wrong host, 404": "return 404;",
    "wrong host, 200": "return 200 welcome;",
    "asking for a sign-in": "return 401;",
    "challenging": "add_header cf-mitigated challenge always; return 403;",
    "broken": "return 500;",
    "nobody behind it": "return 502;",
    "closing": "return 444;",
}
TLS: Final = "certificate of nobody's"

_MAIN: Final = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 20m;
    client_body_buffer_size 2m;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
{servers}
}}
"""
_SERVER: Final = """
    server {{
        listen 127.0.0.1:{port} {tls};
        {mistake}
    }}
"""


@contextlib.asynccontextmanager
async def running_proxies(folder: Path, upstream: int) -> AsyncIterator[dict[str, str]]:
    """One nginx before the service at `upstream`; by its mistake, each one's base address."""
    binary = program("nginx")
    write_certificates(folder)
    names = [*MISTAKES, TLS]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    servers = "".join(
        _SERVER.format(port=ports[name], tls="", mistake=mistake.replace("%d", str(upstream)))
        for name, mistake in MISTAKES.items()
    )
    certificate = f"ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.pem;"
    servers += _SERVER.format(port=ports[TLS], tls="ssl", mistake=certificate + PASS % upstream)
    config = folder / "nginx.conf"
    config.write_text(_MAIN.format(folder=folder, servers=servers), "utf-8")
    process = await asyncio.create_subprocess_exec(
        *(binary, "-p", str(folder), "-c", str(config)), stderr=asyncio.subprocess.DEVNULL
    )

    async def listening() -> bool | None:
        assert process.returncode is None, (folder / "error.log").read_text("utf-8")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", ports[TLS])
        except OSError:
            return None
        writer.close()
        return True

    try:
        await eventually(listening)
        yield {
            name: f"{'https' if name == TLS else 'http'}://127.0.0.1:{port}"
            for name, port in ports.items()
        }
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
