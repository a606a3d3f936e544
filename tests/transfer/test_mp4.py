from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import NotAVideo
from service.domain.mp4 import Mp4Walk
from tests.transfer.samples import FTYP, box

contents = st.binary(max_size=40)
other_boxes = st.lists(
    st.builds(box, st.sampled_from([b"free", b"uuid", b"moof", b"\xa9xyz"]), contents),
    max_size=4,
).map(b"".join)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Whole files whose last box is one that a player cannot do without."""
    needed = [
        box(b"moov", draw(contents), long=draw(st.booleans())),
        box(b"mdat", draw(contents), long=draw(st.booleans())),
    ]
    first, last = draw(st.permutations(needed))
    return FTYP + draw(other_boxes) + first + draw(other_boxes) + last


def walk(data: bytes, cuts: list[int]) -> Mp4Walk:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    walked = Mp4Walk()
    for start, end in pairwise(edges):
        walked.feed(data[start:end])
    return walked


@given(files(), st.lists(st.integers(min_value=0, max_value=10_000)))
def test_a_whole_file_passes_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    walk(data, cuts).finish()


@given(files(), st.data(), st.lists(st.integers(min_value=0, max_value=10_000)))
def test_no_proper_prefix_of_a_file_passes(
    data: bytes, draw: st.DataObject, cuts: list[int]
) -> None:
    prefix = data[: draw.draw(st.integers(0, len(data) - 1))]
    with pytest.raises(NotAVideo):
        walk(prefix, cuts).finish()


@given(st.binary(max_size=200))
def test_garbage_raises_one_class_only(data: bytes) -> None:
    with pytest.raises(NotAVideo):
        walk(FTYP + data, []).finish()


@pytest.mark.parametrize(
    "head",
    [
        b"<html><body>expired</body></html>",
        b'{"detail": "not found"}',
        b"\x1aE\xdf\xa3" + bytes(30),
        bytes(64),
        b"\x00\x00\x00\x20ftypqt  " + bytes(20),
        b"\x00\x00\x00\x20ftypheic" + bytes(20),
        b"\x00\x00\x00\x08ftyp" + bytes(20),
        b"\x00\x00\x00\x01ftyp" + bytes(20),
        b"\x7f\x00\x00\x20ftypisom" + bytes(20),
    ],
    ids=["html", "json", "webm", "zeros", "quicktime", "heic", "short", "long", "huge"],
)
def test_what_does_not_start_like_an_mp4_is_refused_at_once(head: bytes) -> None:
    with pytest.raises(NotAVideo):
        Mp4Walk().feed(head)


@pytest.mark.parametrize(
    "broken",
    [
        b"\0\0\0\7moov",
        b"\0\0\0\1mdat" + (15).to_bytes(8, "big"),
        b"\0\0\0\0moov",
        b"\0\0\0\x20\0\0\0\1",
    ],
    ids=["below its header", "long below its header", "open moov", "no name"],
)
def test_a_malformed_box_is_refused_at_once(broken: bytes) -> None:
    with pytest.raises(NotAVideo):
        Mp4Walk().feed(FTYP + broken)


def test_media_data_may_last_to_the_end_of_the_file_and_says_so() -> None:
    walked = walk(FTYP + box(b"moov", b"") + b"\0\0\0\0mdat" + b"anything", [])
    walked.finish()
    assert walked.open_ended


def test_a_file_of_empty_boxes_is_refused_before_it_costs_much() -> None:
    with pytest.raises(NotAVideo):
        Mp4Walk().feed(FTYP + box(b"free", b"") * 100_001)


def test_a_file_is_recognised_by_its_first_sixteen_bytes() -> None:
    walked = Mp4Walk()
    walked.feed(FTYP[:15])
    assert not walked.recognised
    walked.feed(FTYP[15:16])
    assert walked.recognised
