"""A running sandbox with tiny videos, and a receiver for its webhooks."""

import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from io import BytesIO
from typing import Protocol

import PIL.Image
import pytest
import pytest_asyncio

from service.sandbox.object_store import ObjectStore, object_store
from service.sandbox.server import run_sandbox
from service.sandbox.settings import SandboxSettings
from tests.sandbox.fal_user import FalUser, fal_user
from tests.sandbox.receiver import Receiver, receiver


@pytest.fixture(scope="session")
def store() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


# One loop and one sandbox serve most tests; `user` starts each from a reset.
on_one_loop = functools.partial(pytest_asyncio.fixture, loop_scope="session")


@on_one_loop(scope="session")
async def inbox() -> AsyncIterator[Receiver]:
    async with receiver() as listening:
        yield listening


@on_one_loop(scope="session")
async def shared_user(store: ObjectStore, inbox: Receiver) -> AsyncIterator[FalUser]:
    settings = SandboxSettings(frame_size=(64, 48), fps=6, time_scale=0.05)
    async with run_sandbox(settings, store=store) as sandbox, fal_user(sandbox, inbox) as user:
        yield user


@on_one_loop
async def user(shared_user: FalUser, picture: bytes) -> FalUser:
    """Somebody at a sandbox that remembers nothing, with a start image to offer."""
    await shared_user.control("reset")
    shared_user.inbox.forget()
    shared_user.inbox.serve("/start.jpg", picture)
    return shared_user


class StartUser(Protocol):
    async def __call__(self, settings: SandboxSettings) -> FalUser: ...


@on_one_loop
async def start_user(user: FalUser, store: ObjectStore) -> AsyncIterator[StartUser]:
    """Start another sandbox with these settings; answers somebody who uses it."""
    async with AsyncExitStack() as stack:

        async def start(settings: SandboxSettings) -> FalUser:
            sandbox = await stack.enter_async_context(run_sandbox(settings, store=store))
            return await stack.enter_async_context(fal_user(sandbox, user.inbox))

        yield start


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A picture whose corners differ, as JPEG."""
    image = PIL.Image.linear_gradient("L").resize((320, 240)).convert("RGB")
    image.paste((220, 30, 30), (0, 0, 160, 120))
    image.paste((30, 30, 220), (140, 100, 180, 140))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()
