"""The https road, which plain http never takes: nothing hashes the payload but Content-MD5."""

import ssl
from pathlib import Path

import httpx
import pytest

from service.adapters.object_store import open_bucket
from service.adapters.s3_calls import StorageAway
from tests.r2.simulator import Simulator
from tests.r2.tls import nginx
from tests.transfer.samples import Bytes, mp4
from tests.transfer.servers import Fault, S3FaultProxy
from tests.transfer.stores import R2_PART_BYTES, R2_STORAGE

VIDEOS = {"tls/small.mp4": mp4(200_000), "tls/large.mp4": mp4(2 * R2_PART_BYTES + 100_000)}


async def test_over_tls_the_bytes_arrive_as_they_are_or_are_sent_again(
    simulator: Simulator,
    on_the_way: S3FaultProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unsigned payloads, no chunk framing, and one bit that turned behind the TLS."""
    async with nginx(tmp_path, on_the_way.port) as secured:
        settings = simulator.settings(f"https://127.0.0.1:{secured.port}{simulator.path}")
        async with open_bucket(settings, R2_STORAGE) as distrustful:
            with pytest.raises(StorageAway, match="SSLError"):
                await distrustful.check()

        monkeypatch.setenv("AWS_CA_BUNDLE", str(secured.authority))
        async with open_bucket(settings, R2_STORAGE) as bucket:
            await bucket.check()
            for pattern, (key, body) in zip(("^PUT", "partNumber=2"), VIDEOS.items(), strict=True):
                on_the_way.faults.append(Fault(pattern, "flip"))
                stored = await bucket.put_video(key, "job-1", Bytes(body))
                assert not stored.reused
                assert simulator.stored(key) == body
                assert on_the_way.faults.pop().times == 0, "the fault was met"
                assert await bucket.find_video(key, "job-1") is not None
            url = bucket.url("tls/small.mp4", 60)

        trusting = ssl.create_default_context(cafile=secured.authority)
        async with httpx.AsyncClient(verify=trusting, trust_env=False) as browser:
            part = await browser.get(url, headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, VIDEOS["tls/small.mp4"][100:200])

        sent = [line.split("|")[1:] for line in secured.seen() if line.startswith("PUT")]
        assert sent == [["UNSIGNED-PAYLOAD", "-", "-", "-"]] * 6
