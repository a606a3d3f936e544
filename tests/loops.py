"""Which event loop a folder's tests run in, where they share what lives in one."""

from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio


def share_loop(
    items: list[pytest.Item], folder: Path, scope: Literal["package", "session"] = "package"
) -> None:
    """Let all async tests below `folder` run in one loop, as their fixtures of that scope do."""
    for item in items:
        if item.path.is_relative_to(folder) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope=scope), append=False)
