"""The video models: endpoint, options, price, and how a request becomes fal's arguments.

Endpoints, fields, ranges and defaults were read from fal's published model schemas as of
2026-08; every optional field that changes cost or look is sent explicitly, because fal has
changed defaults before (Seedance's resolution) and silently ignores fields it does not know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from service.domain.errors import FieldError, Invalid, ProviderRetired

Check = Callable[[Any], str | None]


def one_of(*allowed: str) -> Check:
    return lambda value: None if value in allowed else f"must be one of {', '.join(allowed)}"


def number(low: float, high: float) -> Check:
    def check(value: Any) -> str | None:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        return None if fits and low <= value <= high else f"must be a number from {low} to {high}"

    return check


def integer(low: int, high: int) -> Check:
    def check(value: Any) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool)
        return None if fits and low <= value <= high else f"must be a whole number, {low} to {high}"

    return check


def text(longest: int) -> Check:
    def check(value: Any) -> str | None:
        fits = isinstance(value, str) and len(value) <= longest
        return None if fits else f"must be text of at most {longest} characters"

    return check


def flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """One model. Prices are whole credits per second of video; times are seconds."""

    name: str
    title: str
    endpoint: str
    durations_s: tuple[int, ...]
    credits_per_s: int
    expected_render_s: int
    options: Mapping[str, Check]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    image_field: str = "image_url"
    integer_duration: bool = False  # Sora takes 4, every other model takes "4"
    retired_on: str | None = None
    successors: tuple[str, ...] = ()

    def price(self, duration_s: int) -> int:
        """Credits for a video of that many seconds."""
        return self.credits_per_s * duration_s

    def check(self, duration_s: int, options: Mapping[str, Any]) -> list[FieldError]:
        """Everything wrong with a request, before anything is reserved for it."""
        errors = []
        if duration_s not in self.durations_s:
            allowed = ", ".join(map(str, self.durations_s))
            errors.append(FieldError("duration", f"{self.name} takes {allowed} (seconds)"))
        for name, value in options.items():
            if name not in self.options:
                known = ", ".join(sorted(self.options))
                errors.append(FieldError(f"options.{name}", f"{self.name} takes only {known}"))
            elif problem := self.options[name](value):
                errors.append(FieldError(f"options.{name}", problem))
        return errors

    def arguments(
        self, *, prompt: str, duration_s: int, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """fal's input for a request, all but the start image's address. Raises Invalid."""
        if errors := self.check(duration_s, options):
            raise Invalid(errors)
        duration = duration_s if self.integer_duration else str(duration_s)
        return {"prompt": prompt, "duration": duration, **self.defaults, **options}


_RATIOS: Final = one_of("auto", "21:9", "16:9", "4:3", "1:1", "3:4", "9:16")
_SEED: Final = integer(-1, 2**31 - 1)
_SORA_RETIRED: Final = "2026-09-24"
_SORA_SUCCESSORS: Final = ("seedance2", "kling3")

_ALL: Final = (
    Provider(
        name="seedance",
        title="Seedance 1.0 Pro",
        endpoint="fal-ai/bytedance/seedance/v1/pro/image-to-video",
        durations_s=tuple(range(2, 13)),
        credits_per_s=8,
        expected_render_s=90,
        options={
            "resolution": one_of("480p", "720p", "1080p"),
            "aspect_ratio": _RATIOS,
            "camera_fixed": flag,
            "seed": _SEED,
            "enable_safety_checker": flag,
        },
        defaults={"resolution": "720p", "aspect_ratio": "auto", "enable_safety_checker": True},
    ),
    Provider(
        name="seedance2",
        title="Seedance 2.0",
        endpoint="bytedance/seedance-2.0/image-to-video",
        durations_s=tuple(range(4, 16)),
        credits_per_s=18,
        expected_render_s=150,
        options={
            "resolution": one_of("480p", "720p", "1080p"),
            "aspect_ratio": _RATIOS,
            "generate_audio": flag,
        },
        defaults={"resolution": "720p", "aspect_ratio": "auto", "generate_audio": True},
    ),
    Provider(
        name="kling2_5",
        title="Kling 2.5 Turbo Pro",
        endpoint="fal-ai/kling-video/v2.5-turbo/pro/image-to-video",
        durations_s=(5, 10),
        credits_per_s=5,
        expected_render_s=120,
        options={"negative_prompt": text(2_500), "cfg_scale": number(0, 1)},
        defaults={"negative_prompt": "blur, distort, and low quality", "cfg_scale": 0.5},
    ),
    Provider(
        name="kling3",
        title="Kling 3 Pro",
        endpoint="fal-ai/kling-video/v3/pro/image-to-video",
        durations_s=tuple(range(3, 16)),
        credits_per_s=10,
        expected_render_s=180,
        options={
            "negative_prompt": text(2_500),
            "cfg_scale": number(0, 1),
            "generate_audio": flag,
        },
        defaults={
            "negative_prompt": "blur, distort, and low quality",
            "cfg_scale": 0.5,
            "generate_audio": True,
        },
        image_field="start_image_url",
    ),
    Provider(
        name="sora2",
        title="Sora 2",
        endpoint="fal-ai/sora-2/image-to-video",
        durations_s=(4, 8, 12),
        credits_per_s=6,
        expected_render_s=150,
        options={
            "resolution": one_of("auto", "720p"),
            "aspect_ratio": one_of("auto", "9:16", "16:9"),
        },
        defaults={"resolution": "auto", "aspect_ratio": "auto", "delete_video": True},
        integer_duration=True,
        retired_on=_SORA_RETIRED,
        successors=_SORA_SUCCESSORS,
    ),
    Provider(
        name="sora2_pro",
        title="Sora 2 Pro",
        endpoint="fal-ai/sora-2/image-to-video/pro",
        durations_s=(4, 8, 12),
        credits_per_s=18,
        expected_render_s=240,
        options={
            "resolution": one_of("auto", "720p", "1080p"),
            "aspect_ratio": one_of("auto", "9:16", "16:9"),
        },
        defaults={"resolution": "720p", "aspect_ratio": "auto", "delete_video": True},
        integer_duration=True,
        retired_on=_SORA_RETIRED,
        successors=_SORA_SUCCESSORS,
    ),
)

PROVIDERS: Final[Mapping[str, Provider]] = {provider.name: provider for provider in _ALL}


def provider_named(name: str, *, allow_retired: bool) -> Provider:
    """The provider of that name. Raises Invalid (unknown) or ProviderRetired."""
    provider = PROVIDERS.get(name)
    if provider is None:
        known = ", ".join(PROVIDERS)
        raise Invalid([FieldError("provider", f"there is no {name!r}; choose one of {known}")])
    if provider.retired_on is not None and not allow_retired:
        raise ProviderRetired(name, provider.successors)
    return provider
