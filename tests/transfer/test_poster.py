"""A thumbnail is taken of what any provider makes; of what nobody should decode, none is."""

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import av
import pytest
from PIL import Image

from service.adapters import poster as module
from service.adapters.object_store import R2Bucket
from service.adapters.poster import FramePoster, PosterLimits
from service.adapters.poster_frame import HIGHEST, MAX_PIXELS, WIDEST, save_first_frame
from service.domain.errors import NotAVideo, SourceTooLarge, Transient
from service.sandbox.clip import ClipShape, render
from tests.transfer.stores import KEY, Store
from tests.world import png

MIB: Final = 1024**2
SPINS: Final = "import time\nwhile True: time.sleep(60)\n"
CRASHES: Final = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
WRITES_HTML: Final = "import sys, pathlib\npathlib.Path(sys.argv[2]).write_text('<html>')\n"
TELLS: Final = (
    "import os, sys, pathlib\n"
    "told = repr((sorted(os.environ), os.getcwd(), oct(os.stat('.').st_mode)))\n"
    "pathlib.Path(sys.argv[2]).write_bytes(b'\\xff\\xd8\\xff' + told.encode())\n"
)


def clip(colour: str = "teal", size: tuple[int, int] = (320, 180)) -> bytes:
    """A video of one colour, as the sandbox makes them."""
    made = render(png(colour, size), ClipShape(seconds=1, fps=2, box=size))
    assert made is not None
    return made


def encoded(
    size: tuple[int, int],
    folder: Path,
    *,
    codec: str = "libx264",
    faststart: bool = False,
    frames: int = 2,
    container: str = "mp4",
) -> bytes:
    """Frames of red in an MP4, its index behind its media unless `faststart`."""
    path = folder / "encoded.mp4"
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", format=container, options=options) as out:
        fast = {"preset": "ultrafast"} if codec == "libx264" else {}
        stream = out.add_stream(codec, rate=2, options=fast)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            picture = Image.new("RGB", size, "red")
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path.read_bytes()


async def chunked(data: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def made(data: bytes, limits: PosterLimits | None = None) -> Image.Image:
    picture = Image.open(io.BytesIO(await FramePoster(limits).make(chunked(data))))
    picture.load()
    return picture


def frame_of(data: bytes, folder: Path) -> Image.Image:
    """The same in this process, where nothing dies of it."""
    (folder / "in.mp4").write_bytes(data)
    save_first_frame(folder / "in.mp4", folder / "out.jpg")
    with Image.open(folder / "out.jpg") as picture:
        picture.load()
        return picture


def close(found: object, wanted: tuple[int, int, int]) -> bool:
    assert isinstance(found, tuple)
    return all(abs(one - other) < 16 for one, other in zip(found, wanted, strict=True))


def nothing_left(folder: Path) -> bool:
    return not list(folder.glob("fal-video-poster-*"))


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the poster's folders are made during the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


async def test_the_first_frame_of_a_video_becomes_a_small_jpeg(scratch: Path) -> None:
    picture = await made(clip("teal", (1280, 720)))
    assert (picture.format, picture.size) == ("JPEG", (WIDEST, 360))
    assert close(picture.getpixel((320, 180)), (0, 128, 128))
    assert nothing_left(scratch)


@pytest.mark.parametrize(
    ("size", "scaled"),
    [((320, 180), (320, 180)), ((720, 1280), (640, 1138)), ((64, 2048), (40, HIGHEST))],
    ids=["small stays", "portrait", "a tower"],
)
def test_the_proportions_are_kept(
    tmp_path: Path, size: tuple[int, int], scaled: tuple[int, int]
) -> None:
    assert frame_of(encoded(size, tmp_path), tmp_path).size == scaled


@pytest.mark.parametrize("faststart", [True, False], ids=["index first", "index last"])
def test_the_index_may_be_at_either_end(tmp_path: Path, *, faststart: bool) -> None:
    picture = frame_of(encoded((64, 36), tmp_path, faststart=faststart), tmp_path)
    assert close(picture.getpixel((32, 18)), (254, 0, 0))


def no_video(kind: str, folder: Path) -> bytes:
    """What passes for a video by its name only, or nearly is one."""
    whole = encoded((64, 36), folder)
    playlist = b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n"
    hostile = {
        "empty": b"",
        "garbage": os.urandom(50_000),
        "html": b"<html>not found</html>" * 100,
        "playlist": playlist,
        "playlist behind an MP4's head": whole[:32] + playlist,
        "truncated before its index": whole[: len(whole) // 3],
        "another codec": encoded((64, 36), folder, codec="mpeg4"),
        "another container": encoded((64, 36), folder, container="matroska"),
    }
    return hostile[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "empty",
        "garbage",
        "html",
        "playlist",
        "playlist behind an MP4's head",
        "truncated before its index",
        "another codec",
        "another container",
    ],
)
def test_what_is_no_such_video_has_no_frame(tmp_path: Path, kind: str) -> None:
    with pytest.raises((ValueError, av.error.FFmpegError)):
        frame_of(no_video(kind, tmp_path), tmp_path)


async def test_garbage_is_not_a_video_and_is_told_from_bad_luck(scratch: Path) -> None:
    with pytest.raises(NotAVideo):
        await made(os.urandom(10_000))
    assert nothing_left(scratch)


def test_more_pixels_than_any_model_makes_are_not_decoded(tmp_path: Path) -> None:
    """A few bytes can ask for any amount of memory."""
    assert MAX_PIXELS < 4200 * 4200
    video = encoded((4200, 4200), tmp_path, frames=1)
    assert len(video) < MIB
    with pytest.raises(ValueError, match="4200 x 4200 pixels"):
        frame_of(video, tmp_path)


async def test_a_child_without_the_memory_makes_none() -> None:
    """Its own limit ends it, not this machine's."""
    with pytest.raises((NotAVideo, Transient)):
        await made(clip(size=(1920, 1080)), PosterLimits(memory_bytes=140 * MIB))


def instead(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the poster run another program: what a decoder that was taken over might do."""
    program = folder / "instead.py"
    program.write_text(text, "utf-8")
    monkeypatch.setattr(module, "PROGRAM", program)


async def test_a_child_that_hangs_is_ended_and_reaped(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(SPINS, scratch, monkeypatch)
    with pytest.raises(Transient, match=r"was not there after 0\.2 s"):
        await made(clip(), PosterLimits(wall_s=0.2))
    assert nothing_left(scratch)
    assert children() == []


async def test_a_child_that_crashes_takes_nobody_with_it(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(CRASHES, scratch, monkeypatch)
    with pytest.raises(Transient, match="signal 11"):
        await made(clip())


async def test_what_a_child_writes_is_not_believed(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(WRITES_HTML, scratch, monkeypatch)
    with pytest.raises(NotAVideo, match="no JPEG"):
        await made(clip())


async def test_a_child_has_no_secrets_and_a_folder_that_is_nobody_elses(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(TELLS, scratch, monkeypatch)
    monkeypatch.setenv("FAL_KEY", "hush")
    told = (await FramePoster().make(chunked(clip())))[3:].decode()
    assert "FAL_KEY" not in told
    assert "R2_" not in told
    assert "0o40700" in told


async def test_a_stop_ends_the_child_and_leaves_nothing(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(SPINS, scratch, monkeypatch)
    making = asyncio.create_task(FramePoster().make(chunked(clip())))
    async with asyncio.timeout(10):
        while not children():  # noqa: ASYNC110 - only looking can tell
            await asyncio.sleep(0.005)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert children() == []
    assert nothing_left(scratch)


async def test_a_video_over_the_limit_is_not_kept_on_the_disk(scratch: Path) -> None:
    with pytest.raises(SourceTooLarge):
        await made(b"\0" * 2 * MIB, PosterLimits(source_bytes=MIB))
    assert nothing_left(scratch)


def test_the_program_gives_up_what_it_does_not_need(tmp_path: Path) -> None:
    """Set by itself, before it opens anything: read back from a process that did."""
    text = (
        "import resource, sys; sys.path.insert(0, sys.argv[1]); import poster_frame as p;"
        "p.confine(memory=1 << 30, cpu_s=7, file=12345);"
        "print([resource.getrlimit(each)[1] for each in (resource.RLIMIT_AS,"
        " resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)])"
    )
    folder = str(module.PROGRAM.parent)
    ran = subprocess.run(
        [sys.executable, "-I", "-c", text, folder], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == str([1 << 30, 7, 12345, 0])


async def test_an_object_is_read_back_as_it_was_stored(bucket: R2Bucket, store: Store) -> None:
    data = os.urandom(3 * MIB + 17)
    await bucket.put_image(KEY, data, "video/mp4")
    assert b"".join([chunk async for chunk in bucket.read(KEY)]) == data


async def test_an_object_that_is_not_there_is_no_reason_to_give_up(bucket: R2Bucket) -> None:
    with pytest.raises(Transient):
        [chunk async for chunk in bucket.read(KEY)]


def children() -> list[str]:
    """This process's children that run the program, the unreaped among them."""
    own = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    names = [name for each in own for name in each.read_text("ascii").split()]
    return [name for name in names if _runs_the_program(name)]


def _runs_the_program(name: str) -> bool:
    try:
        told = Path(f"/proc/{name}/cmdline").read_bytes()
        state = Path(f"/proc/{name}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return False
    return state[0] == "Z" or b"instead.py" in told
