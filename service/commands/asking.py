"""How a command has an operation done: here, or by the process that owns the database.

On a database server a command opens the store itself. An embedded database belongs to one process:
if that is a running `web`, the command asks it through its control socket; if nobody has it, the
command opens it.
"""

import json
import os
import socket
import stat
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from service.adapters.surreal_errors import Unavailable
from service.commands.running import FAILED, is_locked, run_command, say_json
from service.domain.errors import ServiceError
from service.domain.operators import Door
from service.operations.base import Context
from service.operations.control_path import control_path, short_address
from service.operations.registry import Call, perform, read_call
from service.settings import Needs, Problem, Settings, SettingsError, read_settings
from service.wiring import open_bucket_alone, open_store

CONNECT_S: Final = 10.0  # to a socket on this machine; a stopped process does not answer
GRACE_S: Final = 10.0  # what an answer may take beyond the operation's own limit

Show = Callable[[Any], None]


class Refused(ServiceError):
    """The process that owns the database has refused; the message is its own."""

    code = "refused"


class CannotReach(ServiceError):
    """The database is somebody else's, and nobody there takes commands."""

    code = "cannot_reach"


def ask(
    name: str,
    arguments: Mapping[str, Any],
    show: Show,
    *,
    as_json: bool,
    failed: Callable[[Any], bool] = lambda _: False,
) -> int:
    """Have an operation done, and show its answer; the exit code. None as an argument is absent."""
    text = json.dumps({key: value for key, value in arguments.items() if value is not None})
    show = say_json if as_json else show
    act = partial(_ask, name=name, text=text, show=show, failed=failed)
    return run_command(act, Needs.DATABASE)


async def _ask(
    settings: Settings, *, name: str, text: str, show: Show, failed: Callable[[Any], bool]
) -> int:
    answer = await answer_of(settings, read_call(name, text), text)
    show(answer)
    return FAILED if failed(answer) else 0


async def answer_of(settings: Settings, call: Call, text: str) -> Mapping[str, Any]:
    """The operation's answer, by whichever door leads to the database."""
    if settings.surrealdb_url.startswith("mem://"):
        message = "mem:// is a database that only its own process can see; name another"
        raise SettingsError([Problem("SURREALDB_URL", message)])
    path = control_path(settings.surrealdb_url)
    if path is not None and _listened_to(path):
        return await _through(path, call, text)
    try:
        return await _directly(settings, call)
    except Unavailable as error:
        if path is None or not is_locked(error):
            raise
        if _listened_to(path):  # it has begun to listen since we looked
            return await _through(path, call, text)
        raise CannotReach(
            f"the database in {path.with_suffix('')} is open in another process, and that has no"
            f" control socket ({path}): if it is starting, try again; else stop it first"
        ) from error


async def _directly(settings: Settings, call: Call) -> Mapping[str, Any]:
    if getattr(call.arguments, "objects", False) or getattr(call.arguments, "orphans", False):
        settings = read_settings(os.environ, Needs.WORK)
    async with open_store(settings) as store:
        context = Context(
            store=store,
            door=Door.CLI,
            open_bucket=lambda: open_bucket_alone(settings),
            allow_retired_providers=settings.allow_retired_providers,
        )
        return await perform(context, call)


def _listened_to(path: Path) -> bool:
    """Whether a process takes commands there. Raises CannotReach where it is not for us."""
    try:
        found = path.lstat()
        if not stat.S_ISSOCK(found.st_mode):
            return False
        if os.geteuid() not in {0, found.st_uid}:
            raise CannotReach(f"{path} belongs to another user: run this as that user")
        with short_address(path) as address, socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CONNECT_S)
            probe.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):  # none, or one of a process that died
        return False
    except PermissionError as error:
        raise CannotReach(f"{path} is not for this user: run this as the service's") from error
    except TimeoutError as error:
        raise CannotReach(f"the process that listens on {path} does not answer") from error
    return True


async def _through(path: Path, call: Call, text: str) -> Mapping[str, Any]:
    limit = httpx.Timeout(call.operation.limit_s + GRACE_S, connect=CONNECT_S)
    with short_address(path) as address:
        transport = httpx.AsyncHTTPTransport(uds=address)
        async with httpx.AsyncClient(transport=transport, timeout=limit) as client:
            try:
                answer = await client.post(
                    f"http://control/{call.operation.name}",
                    content=text,
                    headers={"Content-Type": "application/json"},
                )
            except httpx.HTTPError as error:
                raise CannotReach(
                    "the process that has the database ended before it answered, or is too slow:"
                    " look whether it was done"
                ) from error
    try:
        found: Mapping[str, Any] = answer.json()
    except ValueError:  # too many ask at once: the server's own words
        raise CannotReach(f"the process that has the database says: {answer.text}") from None
    if answer.is_success:
        return found
    raise Refused(str(found.get("detail", answer.status_code)))
