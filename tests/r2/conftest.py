from collections.abc import AsyncIterator, Iterator

import pytest

from service.adapters.object_store import R2Bucket, open_bucket
from tests.r2.simulator import Simulator, simulator
from tests.transfer.servers import S3FaultProxy, ServerThread
from tests.transfer.stores import R2_STORAGE

__all__ = ["simulator"]  # a fixture, and none of this directory alone


@pytest.fixture
async def bucket(simulator: Simulator) -> AsyncIterator[R2Bucket]:
    """Straight to the simulator."""
    async with open_bucket(simulator.settings(), R2_STORAGE) as opened:
        yield opened


@pytest.fixture
def on_the_way(simulator: Simulator) -> Iterator[S3FaultProxy]:
    """A proxy in front of the simulator."""
    thread = ServerThread()
    proxy = S3FaultProxy(simulator.port, path=simulator.path)
    proxy.port = thread.listen(proxy.serve)
    yield proxy
    thread.stop()
