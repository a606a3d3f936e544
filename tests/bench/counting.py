"""How often each request and each piece of the worker's work asks the database."""

import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from service import worker
from service.adapters.surreal import Database
from tests.world import World

T = TypeVar("T")
Counts = dict[str, list[int]]

_CALLS: ContextVar[list[str] | None] = ContextVar("calls", default=None)


@contextlib.contextmanager
def counted_calls(world: World) -> Iterator[Counts]:
    """By `ack`, `status`, `handle`, `finalise`: the round trips of each one while this is open."""
    counts: Counts = defaultdict(list)
    ask = Database._retried

    async def noted(self: Database, statement: str, *args: Any, **kwargs: Any) -> Any:
        calls = _CALLS.get()
        if calls is not None:
            calls.append(statement)
        return await ask(self, statement, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "_retried", noted)
        for name in ("handle", "finalise"):
            patch.setattr(worker, name, _counting(counts, name, getattr(worker, name)))
        inner = world.app.middleware_stack
        assert inner is not None, "the application is built"
        patch.setattr(world.app, "middleware_stack", _CountedRequests(inner, counts))
        yield counts


def _counting(
    counts: Counts, name: str, act: Callable[..., Awaitable[T]]
) -> Callable[..., Awaitable[T]]:
    async def counted(*args: Any) -> T:
        calls: list[str] = []
        before = _CALLS.set(calls)
        try:
            return await act(*args)
        finally:
            _CALLS.reset(before)
            counts[name].append(len(calls))

    return counted


class _CountedRequests:
    def __init__(self, app: ASGIApp, counts: Counts) -> None:
        self._app, self._counts = app, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        name = "ack" if path.startswith("/api/fal/webhook/") else path.rpartition("/")[2]
        await _counting(self._counts, name, self._app)(scope, receive, send)
