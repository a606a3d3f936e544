"""What makes a video's thumbnail."""

from collections.abc import AsyncIterator
from typing import Protocol


class Poster(Protocol):
    """Takes one frame of a video. It decodes what strangers' machines made, so it is on guard."""

    async def make(self, video: AsyncIterator[bytes]) -> bytes:
        """A small JPEG of the beginning of an MP4.

        Raises SourceTooLarge and NotAVideo, which another try will not mend, Transient, and what
        `video` raises. Nothing is left behind, also when cancelled.
        """
        ...
