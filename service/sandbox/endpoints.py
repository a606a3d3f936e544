"""The image-to-video models the stand-in knows, and what each accepts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DEFAULT_SECONDS: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """One model. `durations` holds strings for all but Sora, exactly as fal types them."""

    id: str
    durations: tuple[str | int, ...]
    image_field: str = "image_url"
    default: str | int = "5"

    @property
    def app(self) -> str:
        """Owner and app: the only part of the id that status, result and cancel paths carry."""
        return "/".join(self.id.split("/")[:2])


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInput:
    """The parts of a valid submission that the stand-in acts upon."""

    prompt: str
    image_url: str
    seconds: int


def validate(endpoint: Endpoint, body: object) -> ModelInput | list[dict[str, object]]:
    """The input, or fal's `detail` list saying what is wrong with it. Unknown keys are ignored."""
    if not isinstance(body, dict):
        return [problem((), "Input should be a valid dictionary", "model_attributes_type", body)]
    found = [
        *_text_problems(body, "prompt"),
        *_text_problems(body, endpoint.image_field),
        *_duration_problems(endpoint, body),
    ]
    if found:
        return found
    duration = body.get("duration", endpoint.default)
    return ModelInput(
        prompt=body["prompt"],
        image_url=body[endpoint.image_field],
        seconds=DEFAULT_SECONDS if duration == "auto" else int(duration),
    )


def problem(loc: tuple[str, ...], msg: str, kind: str, given: object) -> dict[str, object]:
    """One entry of fal's `detail` list."""
    return {"loc": ["body", *loc], "msg": msg, "type": kind, "input": given}


def _text_problems(body: Mapping[str, object], field: str) -> list[dict[str, object]]:
    if field not in body:
        return [problem((field,), "Field required", "missing", dict(body))]
    value = body[field]
    if not isinstance(value, str):
        return [problem((field,), "Input should be a valid string", "string_type", value)]
    if not value.strip():
        return [problem((field,), "String should not be empty", "string_too_short", value)]
    return []


def _duration_problems(endpoint: Endpoint, body: Mapping[str, object]) -> list[dict[str, object]]:
    given = body.get("duration", endpoint.default)
    # True == 1 in Python: the type is compared too, so that neither booleans nor "4" for 4 pass.
    if any(given == known and type(given) is type(known) for known in endpoint.durations):
        return []
    expected = " or ".join(repr(known) for known in endpoint.durations)
    entry = problem(("duration",), f"Input should be {expected}", "literal_error", given)
    return [{**entry, "ctx": {"expected": expected}}]


def _seconds(first: int, last: int) -> tuple[str, ...]:
    return tuple(str(second) for second in range(first, last + 1))


_SEEDANCE_2: Final = ("auto", *_seconds(4, 15))
_SORA: Final = (4, 8, 12, 16, 20)

ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    endpoint.id: endpoint
    for endpoint in (
        Endpoint(id="fal-ai/bytedance/seedance/v1/pro/image-to-video", durations=_seconds(2, 12)),
        Endpoint(
            id="fal-ai/bytedance/seedance/v1/pro/fast/image-to-video", durations=_seconds(2, 12)
        ),
        Endpoint(id="fal-ai/bytedance/seedance/v1.5/pro/image-to-video", durations=_seconds(4, 12)),
        Endpoint(id="bytedance/seedance-2.0/image-to-video", durations=_SEEDANCE_2, default="auto"),
        Endpoint(
            id="bytedance/seedance-2.0/fast/image-to-video", durations=_SEEDANCE_2, default="auto"
        ),
        Endpoint(
            id="bytedance/seedance-2.0/mini/image-to-video", durations=_SEEDANCE_2, default="auto"
        ),
        Endpoint(id="fal-ai/kling-video/v2.5-turbo/pro/image-to-video", durations=("5", "10")),
        Endpoint(id="fal-ai/kling-video/v2.5-turbo/standard/image-to-video", durations=("5", "10")),
        Endpoint(
            id="fal-ai/kling-video/v2.6/pro/image-to-video",
            durations=("5", "10"),
            image_field="start_image_url",
        ),
        Endpoint(
            id="fal-ai/kling-video/v3/pro/image-to-video",
            durations=_seconds(3, 15),
            image_field="start_image_url",
        ),
        Endpoint(
            id="fal-ai/kling-video/v3/standard/image-to-video",
            durations=_seconds(3, 15),
            image_field="start_image_url",
        ),
        Endpoint(id="fal-ai/kling-video/v3/turbo/pro/image-to-video", durations=_seconds(3, 15)),
        Endpoint(id="fal-ai/sora-2/image-to-video", durations=_SORA, default=4),
        Endpoint(id="fal-ai/sora-2/image-to-video/pro", durations=_SORA, default=4),
    )
}
