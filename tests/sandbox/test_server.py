"""Starting and stopping: nothing is left behind, and little is imported before its time."""

import asyncio
import sys
import threading

import aioboto3
import httpx
import pytest

from service.sandbox.extras import MissingExtraError, load
from service.sandbox.object_store import ObjectStore, object_store
from service.sandbox.server import run_sandbox, serve_forever
from service.sandbox.settings import SandboxSettings
from tests.sandbox.conftest import StartUser
from tests.sandbox.fal_user import FalUser

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODULES = """
import pkgutil, sys, importlib, service.sandbox
for module in pkgutil.iter_modules(service.sandbox.__path__):
    importlib.import_module(f"service.sandbox.{module.name}")
assert not {"av", "moto"} & set(sys.modules)
"""


async def test_a_sandbox_leaves_no_task_and_no_thread(store: ObjectStore) -> None:
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())

    async with run_sandbox(SandboxSettings(), store=store) as sandbox:
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{sandbox.fal_url}/sandbox/counts")).status_code == 200
        assert asyncio.all_tasks() > tasks

    assert asyncio.all_tasks() == tasks
    left = set(threading.enumerate()) - threads
    assert {thread.name for thread in left if not thread.name.startswith("asyncio")} == set()


async def test_a_sandbox_ends_in_the_middle_of_everything(
    start_user: StartUser, user: FalUser
) -> None:
    tasks = asyncio.all_tasks()
    settings = SandboxSettings(frame_size=(64, 48), fps=6)
    async with asyncio.timeout(5), run_sandbox(settings, store=store_of(user)) as sandbox:
        headers = {"Authorization": "Key k"}
        async with httpx.AsyncClient(
            base_url=sandbox.fal_url, headers=headers, trust_env=False
        ) as client:
            body = {"prompt": "#sandbox:delay=60,submit_slow=60", "image_url": user.image_url}
            path = "/fal-ai/kling-video/v2.5-turbo/pro/image-to-video"
            waiting = asyncio.create_task(client.post(path, json=body))
            while (await client.get("/sandbox/counts")).json()["accepted"] == 0:
                continue
    with pytest.raises(httpx.TransportError):
        await waiting

    assert asyncio.all_tasks() <= tasks


def store_of(user: FalUser) -> ObjectStore:
    return ObjectStore(user.sandbox.s3_url)


async def test_the_environment_points_the_service_at_it(user: FalUser) -> None:
    sandbox = user.sandbox

    assert sandbox.environment() == {
        "ENVIRONMENT": "development",
        "FAL_KEY": sandbox.fal_key,
        "FAL_USER_ID": "sandbox-1234",
        "FAL_QUEUE_URL": sandbox.fal_url,
        "FAL_JWKS_URL": f"{sandbox.fal_url}/.well-known/jwks.json",
        "FAL_PLATFORM_URL": sandbox.fal_url,
        "FAL_RESULT_HOSTS": "127.0.0.1",
        "R2_ENDPOINT_URL": sandbox.s3_url,
        "R2_BUCKET": "videos",
        "R2_ACCESS_KEY_ID": sandbox.access_key_id,
        "R2_SECRET_ACCESS_KEY": sandbox.secret_access_key,
    }


async def test_the_bucket_is_there_for_a_real_client(user: FalUser, picture: bytes) -> None:
    session = aioboto3.Session(
        aws_access_key_id=user.sandbox.access_key_id,
        aws_secret_access_key=user.sandbox.secret_access_key,
        region_name="auto",
    )
    async with session.client("s3", endpoint_url=user.sandbox.s3_url) as s3:
        bucket = user.sandbox.bucket
        await s3.put_object(Bucket=bucket, Key="start.jpg", Body=picture)
        url = await s3.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": "start.jpg"}
        )

    assert (await user.video(image_url=url))["url"]


async def test_a_taken_port_is_said_at_once() -> None:
    with object_store() as store:
        port = int(store.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), object_store(port):
            pytest.fail("started")


async def test_the_object_store_may_be_its_own_process() -> None:
    def used() -> None:
        with object_store(process=True) as store:
            store.create_bucket("videos")
            store.create_bucket("videos")
            with pytest.raises(RuntimeError, match="InvalidBucketName"):
                store.create_bucket("x")

    await asyncio.to_thread(used)


async def test_serving_prints_the_environment_until_cancelled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    serving = asyncio.create_task(serve_forever(SandboxSettings()))
    printed = ""
    async with asyncio.timeout(20):
        while "R2_SECRET_ACCESS_KEY=" not in printed:
            await asyncio.wait({serving}, timeout=0.01)
            printed += capsys.readouterr().out

    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert "FAL_QUEUE_URL=http://127.0.0.1:" in printed


async def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", MODULES)

    assert await process.wait() == 0


async def test_a_missing_extra_is_said_plainly() -> None:
    with pytest.raises(MissingExtraError, match=r"install fal-video\[sandbox\]"):
        load("no_such_library")
