"""From an image's address to a clip, each distinct clip made once."""

import asyncio
import hashlib
from concurrent.futures import Executor

import httpx

from service.sandbox.clip import ClipShape, render
from service.sandbox.images import UNREADABLE, ImageProblem, fetch
from service.sandbox.settings import SandboxSettings
from service.sandbox.tasks import Tasks


class Renderer:
    """Fetches on the event loop, encodes on `executor`.

    Clips are kept for good by the picture's digest and the shape, so that hundreds of jobs with
    the same picture cost one rendering; jobs that ask at the same time share it.
    """

    def __init__(
        self,
        *,
        settings: SandboxSettings,
        client: httpx.AsyncClient,
        executor: Executor,
        tasks: Tasks,
    ) -> None:
        self._settings = settings
        self._client = client
        self._executor = executor
        self._tasks = tasks
        self._clips: dict[tuple[bytes, ClipShape], asyncio.Task[bytes | None]] = {}

    async def clip(self, image_url: str, seconds: int) -> bytes | ImageProblem:
        """The MP4 made of the image, or why there is none. The image is fetched every time."""
        limit = self._settings.max_image_bytes
        try:
            async with asyncio.timeout(self._settings.image_timeout_s):
                image = await fetch(self._client, image_url, max_bytes=limit)
        except TimeoutError:
            return ImageProblem(kind="file_download_error", says="Downloading the file timed out.")
        if isinstance(image, ImageProblem):
            return image
        # Shielded: the cancelled request is not the only one that may wait for this clip.
        return await asyncio.shield(self._making(image, seconds)) or UNREADABLE

    def _making(self, image: bytes, seconds: int) -> asyncio.Task[bytes | None]:
        shape = ClipShape(seconds=seconds, fps=self._settings.fps, box=self._settings.frame_size)
        key = (hashlib.sha256(image).digest(), shape)
        making = self._clips.get(key)
        if making is None or making.cancelled():
            making = self._tasks.spawn(self._make(image, shape))
            self._clips[key] = making
        return making

    async def _make(self, image: bytes, shape: ClipShape) -> bytes | None:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, render, image, shape)
