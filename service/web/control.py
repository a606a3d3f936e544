"""The control socket: operators' commands for the process that owns an embedded database.

Whoever may open the socket may open the database as well, so it asks for no token: it lies beside
the database's directory, and nobody but its owner may use it.
"""

import asyncio
import contextlib
import logging
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from service.domain.operators import Door
from service.operations.control_path import control_path, short_address
from service.web.operating import answer_operation
from service.web.ops import context_of
from service.web.problems import answer_bug, answer_http_error, answer_nobody
from service.web.requests import runtime_of
from service.web.serving import new_server
from service.wiring import Runtime

log = logging.getLogger(__name__)

CONNECTIONS: Final = 16  # people at keyboards, and their scripts
OWNER_ONLY: Final = 0o600


@contextlib.asynccontextmanager
async def control_socket(runtime: Runtime) -> AsyncIterator[None]:
    """Listen while the body runs, if the database is on this process's disk.

    A folder in which no socket can be made is no reason not to serve: commands then say that the
    process has none.
    """
    path = control_path(runtime.settings.surrealdb_url)
    if path is None:
        yield
        return
    try:
        listener = _listen(path)
    except OSError as error:
        facts = {"path": str(path), "reason": error.strerror or str(error)}
        log.warning("no control socket: commands need this process to be stopped", extra=facts)
        yield
        return
    server = new_server(_app(runtime), connections=CONNECTIONS)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await task
        path.unlink(missing_ok=True)


def _app(runtime: Runtime) -> Starlette:
    app = Starlette(
        routes=[Route("/{name}", _perform, methods=["POST"])],
        exception_handlers={
            HTTPException: answer_http_error,
            ClientDisconnect: answer_nobody,
            Exception: answer_bug,
        },
    )
    app.state.runtime = runtime
    return app


async def _perform(request: Request) -> Response:
    return await answer_operation(context_of(runtime_of(request), Door.SOCKET), request)


def _listen(path: Path) -> socket.socket:
    """A socket that only its owner may use. Raises OSError.

    The database's lock is ours, so a socket that is there was left behind by a dead process.
    """
    if path.exists() and not stat.S_ISSOCK(path.lstat().st_mode):
        raise FileExistsError(None, "something else lies where the socket belongs", str(path))
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_address(path) as address:
            listener.bind(address)
        # Nobody connects before `listen`, so nobody has by the permissions it was made with.
        path.chmod(OWNER_ONLY)
        if stat.S_IMODE(path.lstat().st_mode) != OWNER_ONLY:
            raise PermissionError(None, "this file system keeps nobody out", str(path))
        listener.listen(CONNECTIONS)
    except OSError:
        listener.close()
        path.unlink(missing_ok=True)
        raise
    return listener
