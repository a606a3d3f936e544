"""What /metrics says, read through HTTP as Prometheus reads it."""

from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.world import World

TOKEN = "a token that is long enough for the metrics"
BEARER = f"Bearer {TOKEN}"

Sample = tuple[str, frozenset[tuple[str, str]]]


class Scraped:
    """The samples of one answer. What is not there is None, and `[...]` fails on it."""

    def __init__(self, text: str) -> None:
        self.names = set[str]()
        self._samples: dict[Sample, float] = {}
        for family in text_string_to_metric_families(text):
            for each in family.samples:
                self.names.add(each.name)
                self._samples[each.name, frozenset(each.labels.items())] = each.value

    def get(self, name: str, **labels: str) -> float | None:
        return self._samples.get((f"fal_video_{name}", frozenset(labels.items())))

    def __call__(self, name: str, labels: Mapping[str, str] | None = None, **more: str) -> float:
        found = self.get(name, **{**(labels or {}), **more})
        assert found is not None, f"{name} {labels or more} is not among the metrics"
        return found


async def answered(world: World, authorization: str | bytes = BEARER) -> httpx.Response:
    given = authorization.encode() if isinstance(authorization, str) else authorization
    return await world.http.get("/metrics", headers=[(b"Authorization", given)])


async def scrape(world: World) -> Scraped:
    answer = await answered(world)
    assert answer.status_code == 200, answer.text
    return Scraped(answer.text)
