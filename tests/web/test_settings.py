"""Settings: read once, every problem at once, secrets never said."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from service.settings import Needs, Settings, SettingsError, read_settings

GOOD = {
    "FAL_KEY": "the-fal-key",
    "PUBLIC_BASE_URL": "https://video.example/",
    "WEBHOOK_SEAL_KEY": "s" * 32,
    "SURREALDB_URL": "surrealkv://data",
    "R2_ENDPOINT_URL": "https://account.r2.cloudflarestorage.com",
    "R2_BUCKET": "videos",
    "R2_ACCESS_KEY_ID": "id",
    "R2_SECRET_ACCESS_KEY": "the-r2-secret",
    "AUTH_JWT_SECRET": "j" * 32,
}
SECRETS = {
    "FAL_KEY": "tell-nobody-fal",
    "WEBHOOK_SEAL_KEY": "tell-nobody-seal-" + "x" * 32,
    "SURREALDB_PASSWORD": "tell-nobody-database",
    "R2_SECRET_ACCESS_KEY": "tell-nobody-r2",
    "AUTH_JWT_SECRET": "tell-nobody-jwt-" + "x" * 32,
}
USER = ("SURREALDB_USERNAME", "SURREALDB_PASSWORD")


def problems(environ: dict[str, str], needs: Needs = Needs.WEB) -> dict[str, str]:
    """What is wrong, by setting."""
    with pytest.raises(SettingsError) as caught:
        read_settings(environ, needs)
    found = {each.setting: each.message for each in caught.value.problems}
    for name, message in found.items():
        assert re.fullmatch("[A-Z][A-Z0-9_]+", name), "a problem names its setting"
        assert message
        assert f"{name}: {message}" in str(caught.value)
    return found


def test_the_good_environment_is_read_and_addresses_lose_their_slash() -> None:
    settings = read_settings(GOOD | {"UNRELATED": "x", "PATH": "/bin"}, Needs.WEB)
    assert settings.public_base_url == "https://video.example"
    assert settings.environment == "production"
    assert not settings.development
    assert settings.embedded


def test_an_empty_environment_names_everything_the_web_needs_at_once() -> None:
    assert problems({}).keys() == {
        "PUBLIC_BASE_URL",
        "FAL_KEY",
        "WEBHOOK_SEAL_KEY",
        "R2_ENDPOINT_URL",
        "R2_BUCKET",
        "R2_ACCESS_KEY_ID",
        "R2_SECRET_ACCESS_KEY",
        "AUTH_JWT_SECRET",
    }


def test_each_command_asks_for_what_it_needs_and_no_more() -> None:
    assert "AUTH_JWT_SECRET" not in problems({}, Needs.WORK)
    assert read_settings({}, Needs.DATABASE).surrealdb_url == "surrealkv://.fal-video/data"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENVIRONMENT", "staging"),
        ("PORT", "80a"),
        ("PORT", "70000"),
        ("PORT", "-1"),
        ("LOG_FORMAT", "xml"),
        ("PUBLIC_BASE_URL", "video.example"),
        ("PUBLIC_BASE_URL", "ftp://video.example"),
        ("PUBLIC_BASE_URL", "https://"),
        ("PUBLIC_BASE_URL", "https://[bad"),
        ("FAL_QUEUE_URL", "https://user:pass@queue.example"),
        ("WEBHOOK_SEAL_KEY", "short"),
        ("AUTH_JWT_SECRET", "short"),
        ("ALLOW_RETIRED_PROVIDERS", "perhaps"),
        ("SURREALDB_URL", "postgres://x"),
        ("SURREALDB_URL", "http://x"),
        ("RECONCILE_INTERVAL_S", "0"),
        ("RECONCILE_INTERVAL_S", "soon"),
        ("EXPECTED_RENDER_S", "-1"),
        ("EXPECTED_RENDER_S", "nan"),
        ("LEASE_S", "inf"),
        ("LEASE_S", "86401"),
        ("MAX_IN_FLIGHT", "0"),
        ("MAX_IMAGE_BYTES", "1"),
        ("MAX_WEBHOOK_BYTES", "1.5"),
    ],
)
def test_a_bad_value_is_named_and_nothing_else_is_blamed(name: str, value: str) -> None:
    assert problems(GOOD | {name: value}).keys() == {name}


@pytest.mark.parametrize(
    ("given", "owner"),
    [
        ({}, None),
        ({"SURREALDB_USERNAME": "u"}, None),
        ({"SURREALDB_USERNAME": "u", "SURREALDB_PASSWORD": "p"}, True),
        ({"SURREALDB_ACCESS_KEY": "k" * 32}, False),
    ],
)
def test_a_server_needs_its_owner_or_the_key_of_the_identity(
    given: dict[str, str], *, owner: bool | None
) -> None:
    environ = GOOD | {"SURREALDB_URL": "wss://database.example"}
    environ = {name: each for name, each in environ.items() if name not in USER} | given
    if owner is None:
        assert problems(environ).keys() == {"SURREALDB_USERNAME"}
    else:
        assert read_settings(environ, Needs.WEB).owns_database is owner


def test_bad_missing_and_unsafe_settings_are_all_reported_at_once() -> None:
    environ = GOOD | {"PORT": "x", "LEASE_S": "0", "R2_ENDPOINT_URL": "http://r2.example"}
    environ |= {"AUTH_DEVELOPMENT_USER": "dev@example.com"}
    del environ["FAL_KEY"]
    assert problems(environ).keys() == {
        "PORT",
        "LEASE_S",
        "FAL_KEY",
        "R2_ENDPOINT_URL",
        "AUTH_DEVELOPMENT_USER",
    }


def test_a_bad_value_elsewhere_does_not_make_a_sign_in_that_is_there_look_missing() -> None:
    environ = {**GOOD, "ENVIRONMENT": "development", "AUTH_DEVELOPMENT_USER": "d@example.com"}
    del environ["AUTH_JWT_SECRET"]
    assert read_settings(environ, Needs.WEB).auth_development_user == "d@example.com"
    assert problems(environ | {"PORT": "x"}).keys() == {"PORT"}


@pytest.mark.parametrize(
    "name",
    [
        "PUBLIC_BASE_URL",
        "FAL_QUEUE_URL",
        "FAL_JWKS_URL",
        "FAL_PLATFORM_URL",
        "R2_ENDPOINT_URL",
        "R2_PUBLIC_BASE_URL",
        "AUTH_JWKS_URL",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_production_refuses_a_plain_http_address_and_development_takes_it(
    name: str, scheme: str
) -> None:
    environ = GOOD | {name: f"{scheme}://plain.example"}
    if name == "AUTH_JWKS_URL":
        del environ["AUTH_JWT_SECRET"]
    assert problems(environ).keys() == {name}
    assert read_settings(environ | {"ENVIRONMENT": "development"}, Needs.WEB).development


def test_production_refuses_the_development_user() -> None:
    assert problems(GOOD | {"AUTH_DEVELOPMENT_USER": "d@example.com"}).keys() == {
        "AUTH_DEVELOPMENT_USER"
    }


def test_one_way_to_sign_in_is_demanded_and_not_two() -> None:
    both = GOOD | {"AUTH_JWKS_URL": "https://issuer.example/jwks.json"}
    assert problems(both).keys() == {"AUTH_JWT_SECRET"}
    del both["AUTH_JWT_SECRET"]
    assert read_settings(both, Needs.WEB).auth_jwks_url == both["AUTH_JWKS_URL"]


def test_a_database_server_needs_a_sign_in() -> None:
    environ = GOOD | {"SURREALDB_URL": "wss://db.example"}
    assert problems(environ).keys() == {"SURREALDB_USERNAME"}
    assert problems(environ | {"SURREALDB_USERNAME": "u"}).keys() == {"SURREALDB_USERNAME"}
    signed_in = environ | {"SURREALDB_USERNAME": "u", "SURREALDB_PASSWORD": "p"}
    assert not read_settings(signed_in, Needs.WEB).embedded


def test_a_blank_value_is_an_unset_one() -> None:
    blank = dict.fromkeys((name.upper() for name in Settings.model_fields), "")
    assert read_settings(blank, Needs.DATABASE) == read_settings({}, Needs.DATABASE)
    assert "R2_BUCKET" in problems(GOOD | {"R2_BUCKET": ""})
    assert read_settings(GOOD | {"FAL_USER_ID": ""}, Needs.WEB).fal_user_id is None


def test_no_secret_is_in_any_text_of_the_settings() -> None:
    settings = read_settings(GOOD | SECRETS, Needs.WEB)
    shown = [repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()]
    assert not [each for each in shown if "tell-nobody" in each]
    assert settings.fal_key == SecretStr(SECRETS["FAL_KEY"])


def test_no_secret_is_in_an_error_about_the_settings() -> None:
    broken = dict.fromkeys(SECRETS, "tell-nobody") | {"PORT": "tell-nobody"}
    with pytest.raises(SettingsError) as caught:
        read_settings(GOOD | broken | {"FAL_QUEUE_URL": "https://u:tell-nobody@x"}, Needs.WEB)
    assert "tell-nobody" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_secret_setting_is_declared_as_one() -> None:
    for name, info in Settings.model_fields.items():
        secret = re.search("secret|password|_key$|_token$", name)
        assert bool(secret) == ("SecretStr" in str(info.annotation)), name


def test_settings_do_not_change_after_they_are_read() -> None:
    settings = read_settings(GOOD, Needs.WEB)
    with pytest.raises(ValidationError):
        settings.port = 1


def test_the_result_hosts_are_a_list() -> None:
    given = GOOD | {"FAL_RESULT_HOSTS": " fal.media, ,v3.fal.media "}
    assert read_settings(given, Needs.WEB).result_hosts == ("fal.media", "v3.fal.media")


def test_the_example_file_lists_every_setting_and_no_other() -> None:
    text = (Path(__file__).parents[2] / ".env.example").read_text("utf-8")
    listed = re.findall(r"^(?:# ?)?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == {name.upper() for name in Settings.model_fields}
