"""nginx in front of the service, configured as badly as proxies in the world are."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.parts import free_ports, program
from tests.world import eventually

EVENTS: Final = "/api/templates/video/events"
STATUS: Final = "/api/templates/video/status"

# What each of them does to the ways on which a page hears of its job.
HABITS: Final = {
    "events answered 404": f"location = {EVENTS} {{ return 404; }}",
    "events answered 502": f"location = {EVENTS} {{ return 502; }}",
    "waiting forgotten": (
        f"location = {EVENTS} {{ return 404; }}"
        f" location = {STATUS} {{ set $args jobId=$arg_jobId; proxy_pass $service; }}"
    ),
    "waiting refused": (
        f"location = {EVENTS} {{ return 404; }}"
        f" location = {STATUS} {{ if ($arg_wait) {{ return 502; }} proxy_pass $service; }}"
    ),
    # Mere buffering passes on what there is; what is compressed as well leaves when it is enough.
    "events held back": (
        f"location = {EVENTS} {{ proxy_pass $service; proxy_ignore_headers X-Accel-Buffering;"
        " gzip on; gzip_min_length 0; gzip_types text/event-stream; }"
    ),
}

_MAIN: Final = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder};
  proxy_temp_path {folder};
  fastcgi_temp_path {folder};
  uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  client_max_body_size 20m;
  proxy_http_version 1.1;
  proxy_set_header Host $http_host;
  proxy_set_header Connection "";
{servers}
}}
"""
_SERVER: Final = """
  server {{
    listen 127.0.0.1:{port};
    set $service http://{upstream};
    location / {{ proxy_pass $service; }}
    {habit}
  }}
"""


@contextlib.asynccontextmanager
async def running_proxies(folder: Path, url: str) -> AsyncIterator[dict[str, str]]:
    """One nginx in front of the service at `url`; its address for each bad habit."""
    binary = program("nginx")
    ports = dict(zip(HABITS, free_ports(len(HABITS)), strict=True))
    upstream = urlsplit(url).netloc
    servers = "".join(
        _SERVER.format(port=port, upstream=upstream, habit=HABITS[habit])
        for habit, port in ports.items()
    )
    config = folder / "nginx.conf"
    config.write_text(_MAIN.format(folder=folder, servers=servers), "utf-8")
    process = await asyncio.create_subprocess_exec(
        *(binary, "-p", str(folder), "-c", str(config)), stderr=asyncio.subprocess.DEVNULL
    )

    async def listening() -> bool | None:
        assert process.returncode is None, (folder / "error.log").read_text("utf-8")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", min(ports.values()))
        except OSError:
            return None
        writer.close()
        return True

    try:
        await eventually(listening)
        yield {habit: f"http://127.0.0.1:{port}" for habit, port in ports.items()}
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
