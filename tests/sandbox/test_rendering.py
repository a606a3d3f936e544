"""The videos are real: decoded here, frame by frame, against the start image."""

import base64
from io import BytesIO

import av
import PIL.Image
import PIL.ImageChops
import PIL.ImageStat
import pytest

from service.sandbox.clip import ClipShape, render
from service.sandbox.settings import SandboxSettings
from tests.sandbox.conftest import StartUser
from tests.sandbox.fal_user import KLING, FalUser
from tests.sandbox.test_files import boxes

pytestmark = pytest.mark.asyncio(loop_scope="session")


def decoded(video: bytes) -> list[PIL.Image.Image]:
    with av.open(BytesIO(video), "r") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        return [
            frame.to_image()  # type: ignore[no-untyped-call]
            for frame in container.decode(stream)
        ]


def difference(one: PIL.Image.Image, other: PIL.Image.Image) -> float:
    """Mean absolute difference of the pixels, of 255."""
    means = PIL.ImageStat.Stat(PIL.ImageChops.difference(one, other)).mean
    return sum(means) / len(means)


def rotated_jpeg(picture: bytes) -> bytes:
    """The picture stored lying down, with an EXIF note to turn it."""
    image = PIL.Image.open(BytesIO(picture))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    buffer = BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("seconds", [2, 5])
async def test_the_video_shows_the_image_for_the_time_asked(
    user: FalUser, picture: bytes, seconds: int
) -> None:
    url = (await user.video(duration=str(seconds)))["url"]
    video = (await user.http.get(url)).content

    frames = decoded(video)
    start = PIL.Image.open(BytesIO(picture)).resize((64, 48))
    with av.open(BytesIO(video), "r") as container:
        assert container.duration == seconds * 1_000_000
    assert len(frames) == seconds * 6
    assert {frame.size for frame in frames} == {(64, 48)}
    assert difference(frames[0], start) < 8
    assert difference(frames[-1], start) > 1.5 * difference(frames[0], start)


async def test_the_index_comes_before_the_media(user: FalUser) -> None:
    video = (await user.http.get((await user.video())["url"])).content

    names = boxes(video)

    assert names[0] == "ftyp"
    assert names.index("moov") < names.index("mdat")


async def test_each_frame_zooms_further_in(picture: bytes) -> None:
    video = render(picture, ClipShape(seconds=2, fps=6, box=(128, 96)))
    assert video is not None
    start = PIL.Image.open(BytesIO(picture)).resize((128, 96))

    distances = [difference(frame, start) for frame in decoded(video)]

    assert distances[0] < distances[5] < distances[11]


async def test_a_turned_photo_is_shown_upright(picture: bytes) -> None:
    video = render(rotated_jpeg(picture), ClipShape(seconds=1, fps=2, box=(96, 64)))
    assert video is not None

    first = decoded(video)[0]

    upright = PIL.Image.open(BytesIO(picture)).transpose(PIL.Image.Transpose.ROTATE_270)
    assert first.size == (64, 86)  # within 64 x 96, three to four, even
    assert difference(first, upright.resize(first.size)) < 10


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (33, 17)])
async def test_odd_pictures_make_even_frames(size: tuple[int, int]) -> None:
    buffer = BytesIO()
    PIL.Image.new("RGBA", size, (10, 200, 30, 128)).save(buffer, "PNG")

    video = render(buffer.getvalue(), ClipShape(seconds=1, fps=2, box=(65, 49)))

    assert video is not None
    assert all(side % 2 == 0 for side in decoded(video)[0].size)


async def test_what_is_no_image_makes_no_clip(picture: bytes) -> None:
    shape = ClipShape(seconds=1, fps=2, box=(64, 48))

    assert render(b"<html>", shape) is None
    assert render(picture[: len(picture) // 2], shape) is None


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("/missing.jpg", "file_download_error"),
        ("/page.html", "image_load_error"),
    ],
)
async def test_an_image_that_cannot_be_had_fails_the_request(
    user: FalUser, image: str, kind: str
) -> None:
    user.inbox.serve("/page.html", b"<html></html>")
    handle = await user.accepted(image_url=f"{user.inbox.url}{image}")

    done = await user.completed(handle)

    assert done["error_type"] == kind
    answer = await user.http.get(handle["response_url"])
    assert answer.status_code == 422
    [entry] = answer.json()["detail"]
    assert (entry["loc"], entry["type"]) == (["body", "image_url"], kind)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "nonsense", "http://[", "data:,x", "data:image/png;base64,%"]
)
async def test_an_impossible_address_fails_the_request(user: FalUser, url: str) -> None:
    handle = await user.accepted(image_url=url, endpoint=KLING, duration="5")

    done = await user.completed(handle)

    assert done["error"] == "Invalid status code: 422"


async def test_an_image_over_the_limit_fails_the_request(start_user: StartUser) -> None:
    user = await start_user(SandboxSettings(max_image_bytes=100))

    done = await user.completed(await user.accepted())

    assert done["error_type"] == "file_too_large"


async def test_an_image_that_never_comes_fails_the_request(start_user: StartUser) -> None:
    user = await start_user(SandboxSettings(image_timeout_s=0.2))
    await user.control("jwks", {"fault": "slow"})

    done = await user.completed(await user.accepted(image_url=user.sandbox.jwks_url))

    assert done["error_type"] == "file_download_error"


async def test_an_image_may_come_inside_the_request(user: FalUser, picture: bytes) -> None:
    encoded = base64.b64encode(picture).decode()

    video = await user.video(image_url=f"data:image/jpeg;base64,{encoded}")

    assert len(decoded((await user.http.get(video["url"])).content)) == 12


async def test_the_same_image_is_rendered_once_and_fetched_each_time(user: FalUser) -> None:
    handles = [await user.accepted("drop") for _ in range(20)]
    for handle in handles:
        await user.completed(handle)

    tags = set()
    for handle in handles:
        url = (await user.http.get(handle["response_url"])).json()["video"]["url"]
        tags.add((await user.http.head(url)).headers["etag"])

    assert len(tags) == 1
    assert len(user.inbox.received) == 20
