"""The providers: each duration and option that is allowed becomes arguments; no other does."""

from typing import Any

import pytest

from service.domain.errors import Invalid, ProviderRetired
from service.domain.providers import PROVIDERS, Provider, provider_named

EVERY = [
    pytest.param(provider, duration_s, id=f"{provider.name}-{duration_s}")
    for provider in PROVIDERS.values()
    for duration_s in provider.durations_s
]
ALL = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)


def test_the_expected_providers_exist_under_their_names() -> None:
    assert set(PROVIDERS) == {"seedance", "kling2_5", "sora2", "sora2_pro", "seedance2", "kling3"}
    assert all(name == provider.name for name, provider in PROVIDERS.items())
    assert len({provider.endpoint for provider in PROVIDERS.values()}) == len(PROVIDERS)


@pytest.mark.parametrize(("provider", "duration_s"), EVERY)
def test_every_allowed_duration_has_arguments_and_a_price(
    provider: Provider, duration_s: int
) -> None:
    arguments = provider.arguments(prompt="p", duration_s=duration_s, options={})
    assert arguments["prompt"] == "p"
    assert provider.image_field not in arguments, "the address is signed when it is sent"
    assert int(arguments["duration"]) == duration_s
    assert isinstance(arguments["duration"], int if provider.integer_duration else str)
    assert provider.defaults.items() <= arguments.items()
    price = provider.price(duration_s)
    assert type(price) is int
    assert price > 0
    assert provider.expected_render_s > 0


@ALL
def test_a_default_is_an_allowed_option_or_ours_alone(provider: Provider) -> None:
    for name, value in provider.defaults.items():
        if name in provider.options:
            assert provider.options[name](value) is None, name
        else:
            assert name == "delete_video"


@ALL
def test_a_duration_that_is_not_offered_is_refused(provider: Provider) -> None:
    offered = set(provider.durations_s)
    for duration_s in {-1, 0, 1, 16, 60, min(offered) - 1, max(offered) + 1} - offered:
        with pytest.raises(Invalid) as raised:
            provider.arguments(prompt="p", duration_s=duration_s, options={})
        assert [error.field for error in raised.value.errors] == ["duration"]


@ALL
@pytest.mark.parametrize(
    "name", ["warp", "prompt", "duration", "image_url", "start_image_url", "delete_video", ""]
)
def test_an_unknown_option_is_refused_even_if_fal_would_take_it(
    provider: Provider, name: str
) -> None:
    duration_s = provider.durations_s[0]
    with pytest.raises(Invalid) as raised:
        provider.arguments(prompt="p", duration_s=duration_s, options={name: "x"})
    assert [error.field for error in raised.value.errors] == [f"options.{name}"]


@ALL
def test_an_option_of_the_wrong_kind_is_refused(provider: Provider) -> None:
    wrong: list[Any] = [None, [], {}, object(), "no such choice" * 400]
    for name, check in provider.options.items():
        for value in wrong:
            assert check(value), (name, value)


@pytest.mark.parametrize(
    ("name", "option", "good", "bad"),
    [
        ("seedance", "seed", [-1, 0, 2**31 - 1], [-2, 2**31, 1.5, True, "1"]),
        ("seedance", "resolution", ["480p", "1080p"], ["4k", 720, None]),
        ("seedance", "camera_fixed", [True, False], [0, 1, "true"]),
        ("kling2_5", "cfg_scale", [0, 1, 0.5], [-0.1, 1.1, float("nan"), True, "0.5"]),
        ("kling2_5", "negative_prompt", ["", "x" * 2500], ["x" * 2501, 3]),
    ],
)
def test_options_are_checked_by_value_and_type(
    name: str, option: str, good: list[Any], bad: list[Any]
) -> None:
    provider = PROVIDERS[name]
    duration_s = provider.durations_s[0]
    for value in good:
        options = {option: value}
        made = provider.arguments(prompt="p", duration_s=duration_s, options=options)
        assert made[option] == value
    for value in bad:
        assert provider.check(duration_s, {option: value}), value


def test_everything_wrong_is_said_at_once() -> None:
    errors = PROVIDERS["seedance"].check(99, {"warp": 1, "seed": "x"})
    assert [error.field for error in errors] == ["duration", "options.warp", "options.seed"]


def test_an_unknown_provider_is_invalid_and_the_known_ones_are_named() -> None:
    with pytest.raises(Invalid, match="seedance2"):
        provider_named("nobody", allow_retired=True)


@ALL
def test_a_retired_provider_names_successors_that_are_not(provider: Provider) -> None:
    assert provider_named(provider.name, allow_retired=True) is provider
    if provider.retired_on is None:
        assert provider_named(provider.name, allow_retired=False) is provider
        return
    with pytest.raises(ProviderRetired) as raised:
        provider_named(provider.name, allow_retired=False)
    assert raised.value.successors
    assert all(PROVIDERS[name].retired_on is None for name in raised.value.successors)
