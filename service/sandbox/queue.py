"""The life of accepted requests: waiting, rendering, the verdict, the webhook, cancelling."""

import asyncio
import uuid
from collections.abc import Mapping
from enum import Enum
from typing import Final

from service.sandbox.endpoints import Endpoint, ModelInput
from service.sandbox.faults import Fault, FaultPlan
from service.sandbox.files import file_size
from service.sandbox.images import ImageProblem
from service.sandbox.outcomes import (
    infrastructure_error,
    messages,
    model_error,
    moved,
    refusal,
    success,
)
from service.sandbox.records import Delivery, Generation, Json, State, Verdict
from service.sandbox.renderer import Renderer
from service.sandbox.settings import SandboxSettings
from service.sandbox.tasks import Tasks
from service.sandbox.webhooks import Courier, address

CANCELLED_STATUS: Final = 499


class Cancelled(Enum):
    """What a cancel found."""

    REMOVED = "removed from the queue"
    SIGNALLED = "the runner was told"
    TOO_LATE = "it was complete"


class Queue:
    """All requests of one sandbox. Over the limit of slots they wait, they are never refused."""

    def __init__(
        self,
        *,
        settings: SandboxSettings,
        base_url: str,
        tasks: Tasks,
        renderer: Renderer,
        courier: Courier,
    ) -> None:
        self._settings = settings
        self._base_url = base_url
        self._tasks = tasks
        self._renderer = renderer
        self._courier = courier
        self._slots = asyncio.Semaphore(settings.slots)
        self._accepted = 0
        self._generations: dict[str, Generation] = {}
        self._files: dict[str, Generation] = {}

    @property
    def generations(self) -> Mapping[str, Generation]:
        """Every request that was not removed, in the order of acceptance."""
        return self._generations

    @property
    def files(self) -> Mapping[str, Generation]:
        """The request behind each file name that was ever handed out."""
        return self._files

    def accept(
        self,
        endpoint: Endpoint,
        given: ModelInput,
        body: Json,
        *,
        webhook_url: str | None,
        plan: FaultPlan,
    ) -> Generation:
        """Take a submission; each call makes another request, as fal knows no idempotency."""
        self._accepted += 1
        generation = Generation(
            request_id=str(uuid.uuid4()),
            sequence=self._accepted,
            endpoint=endpoint,
            input=given,
            body=body,
            webhook_url=webhook_url,
            plan=plan,
        )
        self._generations[generation.request_id] = generation
        generation.life = self._tasks.spawn(self._live(generation))
        return generation

    def position(self, generation: Generation) -> int:
        """How many wait before it."""
        return sum(
            other.state is State.IN_QUEUE and other.sequence < generation.sequence
            for other in self._generations.values()
        )

    def cancel(self, generation: Generation) -> Cancelled:
        """Remove it from the queue, or end its rendering as failed with `client_cancelled`.

        fal may run on after a cancel: `cancel_ignored` does. A removed request is unknown
        from then on and sends no webhook; what fal really does there is not documented.
        """
        if generation.state is State.COMPLETED:
            return Cancelled.TOO_LATE
        if Fault.CANCEL_IGNORED in generation.plan:
            return Cancelled.SIGNALLED
        if generation.state is State.IN_QUEUE:
            assert generation.life is not None, "accepted requests live"
            generation.life.cancel()
            del self._generations[generation.request_id]
            generation.announced.set()
            return Cancelled.REMOVED
        assert generation.work is not None, "a request in progress has work"
        generation.work.cancel()
        return Cancelled.SIGNALLED

    def result(self, generation: Generation) -> Verdict | None:
        """What the result URL answers; None while there is nothing to answer."""
        verdict = generation.verdict
        if verdict is None:
            return None
        if self._wants_new_file(generation):
            verdict = generation.verdict = moved(verdict, self._new_file(generation))
        return verdict

    async def redeliver(self, generation: Generation, times: int) -> list[Delivery]:
        """Send the last webhook again so often at once, honestly signed. Needs a verdict."""
        assert generation.verdict is not None, "only a complete request can be announced"
        url = generation.webhook_url
        assert url is not None, "only a request with a webhook can be announced"
        message = messages(generation.request_id, generation.verdict, generation.plan)[-1]
        sending = (self._courier.send_once(generation, url, message) for _ in range(times))
        return await asyncio.gather(*sending)

    async def clear(self) -> None:
        """Forget every request, ending those under way."""
        await self._tasks.cancel()
        for generation in self._generations.values():
            generation.announced.set()  # its submitter may be waiting for that
        self._generations.clear()
        self._files.clear()

    async def _live(self, generation: Generation) -> None:
        plan = generation.plan
        await asyncio.sleep(plan.number(Fault.QUEUE))
        if Fault.EARLY in plan:  # or it would wait for a slot while its submitter waits for it
            await self._work(generation, 0)
        else:
            async with self._slots:
                await self._work(generation, self._settings.render_s + plan.number(Fault.DELAY))
        await self._announce(generation)

    async def _work(self, generation: Generation, at_least_s: float) -> None:
        generation.start()
        work = self._tasks.spawn(self._render(generation, at_least_s))
        generation.work = work
        await asyncio.wait({work})
        cancelled = work.cancelled()
        generation.complete(infrastructure_error(CANCELLED_STATUS) if cancelled else work.result())

    async def _render(self, generation: Generation, at_least_s: float) -> Verdict:
        verdict, _ = await asyncio.gather(self._verdict(generation), asyncio.sleep(at_least_s))
        return verdict

    async def _verdict(self, generation: Generation) -> Verdict:
        plan, given = generation.plan, generation.input
        if Fault.REFUSE in plan:
            return refusal(given.prompt)
        if Fault.ERROR in plan:
            return infrastructure_error(int(plan.number(Fault.ERROR)))
        clip = await self._renderer.clip(given.image_url, given.seconds)
        if isinstance(clip, ImageProblem):
            return model_error(clip.entry(generation.endpoint.image_field, given.image_url))
        generation.clip = clip
        return success(self._new_file(generation), file_size(clip, plan), plan)

    async def _announce(self, generation: Generation) -> None:
        plan = generation.plan
        url = address(generation, self._base_url)
        if url is None or Fault.DROP in plan:
            generation.announced.set()
            return
        assert generation.verdict is not None, "announced once complete"
        await asyncio.sleep(plan.number(Fault.LATE))
        copies = int(plan.number(Fault.DUPLICATE)) or 1
        for message in messages(generation.request_id, generation.verdict, plan):
            sending = (self._courier.deliver(generation, url, message) for _ in range(copies))
            await asyncio.gather(*sending)

    def _new_file(self, generation: Generation) -> str:
        name = uuid.uuid4().hex
        generation.files.append(name)
        self._files[name] = generation
        return f"{self._base_url}/files/b/{name}/out.mp4"

    def _wants_new_file(self, generation: Generation) -> bool:
        return (
            Fault.GONE_ONCE in generation.plan
            and len(generation.files) == 1
            and generation.counts["files"] > 0
        )
