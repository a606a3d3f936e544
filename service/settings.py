"""The service's settings, read once from the environment; every problem is reported at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

SHORTEST_SECRET: Final = 32  # characters; HS256 and the seal need 256 bits


class Needs(StrEnum):
    """How much a command needs to be configured."""

    DATABASE = "database"  # credits, templates, migrate
    WORK = "work"  # reconciler, audit: and fal, R2, the public address
    WEB = "web"  # and sign-in


@dataclass(frozen=True, slots=True)
class Problem:
    setting: str
    message: str


class SettingsError(Exception):
    """The environment does not describe a service that can run; says every reason."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        lines = [f"  {each.setting}: {each.message}" for each in problems]
        super().__init__("the settings cannot be used:\n" + "\n".join(lines))


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    if parts.username or parts.password:
        raise ValueError("must not carry a user name or password")
    return parts._replace(scheme=parts.scheme.lower()).geturl().rstrip("/")


def _strong(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < SHORTEST_SECRET:
        raise ValueError(f"must have at least {SHORTEST_SECRET} characters")
    return value


Address = Annotated[str, AfterValidator(_address)]
StrongSecret = Annotated[SecretStr, AfterValidator(_strong)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Pause = Annotated[float, Field(ge=0, le=86_400)]  # seconds between two runs; 0: none
Days = Annotated[int, Field(ge=1, le=3_650)]


class Settings(BaseModel):
    """One field per environment variable; `.env.example` says what each is for."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    environment: Literal["production", "development"] = "production"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    log_format: Literal["json", "console"] = "json"
    public_base_url: Address | None = None

    fal_key: SecretStr | None = None
    fal_user_id: str | None = None
    fal_queue_url: Address = "https://queue.fal.run"
    fal_jwks_url: Address = "https://rest.fal.ai/.well-known/jwks.json"
    fal_platform_url: Address = "https://api.fal.ai"
    fal_result_hosts: str = "fal.media"
    webhook_seal_key: StrongSecret | None = None
    allow_retired_providers: bool = False

    surrealdb_url: str = "surrealkv://.fal-video/data"
    surrealdb_namespace: str = "fal_video"
    surrealdb_database: str = "main"
    surrealdb_username: str | None = None
    surrealdb_password: SecretStr | None = None
    surrealdb_access_key: StrongSecret | None = None

    r2_endpoint_url: Address | None = None
    r2_bucket: str | None = None
    r2_access_key_id: str | None = None
    r2_secret_access_key: SecretStr | None = None
    r2_public_base_url: Address | None = None

    auth_jwt_secret: StrongSecret | None = None
    auth_jwks_url: Address | None = None
    auth_audience: str | None = None
    auth_issuer: str | None = None
    auth_development_user: str | None = None
    cors_origins: str = ""
    ops_token: StrongSecret | None = None
    metrics_token: StrongSecret | None = None

    reconcile_interval_s: Seconds = 15
    expected_render_s: Seconds | None = None
    lease_s: Seconds = 60
    reconciler_port: int | None = Field(default=None, ge=0, le=65_535)
    audit_interval_s: Pause = 900
    webhook_canary_s: Pause = 600
    otel_exporter_otlp_endpoint: Address | None = None

    keep_deliveries_days: Days = 30
    keep_parked_days: Days = 180
    keep_start_images_days: Days = 30

    max_in_flight: int = Field(default=20, ge=1, le=10_000)
    max_submissions_per_minute: int = Field(default=120, ge=1, le=10_000)
    max_at_fal: int = Field(default=200, ge=1, le=100_000)
    max_image_bytes: int = Field(default=10 * 1024 * 1024, ge=1024, le=100 * 1024 * 1024)
    max_image_pixels: int = Field(default=50_000_000, ge=10_000)
    max_video_bytes: int = Field(default=2 * 1024**3, ge=1024**2)
    max_webhook_bytes: int = Field(default=1024 * 1024, ge=4096, le=64 * 1024 * 1024)

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for each in _listed(value):
            parts = urlsplit(each)
            whole = f"{parts.scheme}://{parts.netloc}"
            if parts.scheme not in {"http", "https"} or not parts.hostname or each != whole:
                raise ValueError(f"{each!r} is no origin such as https://app.example.com")
        return value

    @field_validator("surrealdb_url")
    @classmethod
    def _known_engine(cls, value: str) -> str:
        if not value.startswith(("surrealkv://", "mem://", "ws://", "wss://")):
            raise ValueError("must start with surrealkv://, mem://, ws:// or wss://")
        return value

    @property
    def development(self) -> bool:
        return self.environment == "development"

    @property
    def embedded(self) -> bool:
        """Whether the database lives in this process, which then also runs the reconciler."""
        return not self.surrealdb_url.startswith(("ws://", "wss://"))

    @property
    def owns_database(self) -> bool:
        """Whether there is a user who may define tables, and not only an identity for rows."""
        return self.embedded or bool(self.surrealdb_username and self.surrealdb_password)

    @property
    def result_hosts(self) -> tuple[str, ...]:
        return _listed(self.fal_result_hosts)

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The sites whose pages may use the interface with a bearer token."""
        return _listed(self.cors_origins)


def _listed(value: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in value.split(",") if each.strip())


_WORK: Final = (
    "public_base_url",
    "fal_key",
    "webhook_seal_key",
    "r2_endpoint_url",
    "r2_bucket",
    "r2_access_key_id",
    "r2_secret_access_key",
)
_OUTBOUND: Final = (
    "public_base_url",
    "fal_queue_url",
    "fal_jwks_url",
    "fal_platform_url",
    "r2_endpoint_url",
    "r2_public_base_url",
    "auth_jwks_url",
)


def read_settings(environ: Mapping[str, str], needs: Needs) -> Settings:
    """The settings in `environ`. Raises SettingsError with every problem there is."""
    settings, problems = judge_settings(environ, needs)
    if problems:
        raise SettingsError(problems)
    return settings


def judge_settings(environ: Mapping[str, str], needs: Needs) -> tuple[Settings, list[Problem]]:
    """The settings in `environ`, what is broken left at its default, and every problem."""
    named = {
        name: environ[name.upper()] for name in Settings.model_fields if name.upper() in environ
    }
    # A line such as `R2_BUCKET=` leaves the setting at its default.
    given = {name: value for name, value in named.items() if value != ""}
    problems: list[Problem] = []
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        problems = [_problem(each["loc"], each["msg"]) for each in error.errors()]
        # Judge the rest as if the broken ones were absent, so that one run shows them all.
        broken = {each.setting.lower() for each in problems}
        sound = {name: value for name, value in given.items() if name not in broken}
        settings = Settings.model_validate(sound)
    else:
        broken = set()
    missing = [each for each in _missing(settings, needs) if each.setting.lower() not in broken]
    return settings, problems + missing + _unsafe(settings)


def _problem(location: tuple[int | str, ...], message: str) -> Problem:
    return Problem(str(location[0]).upper(), message.removeprefix("Value error, "))


def _missing(settings: Settings, needs: Needs) -> list[Problem]:
    problems = []
    if not settings.embedded and not (settings.owns_database or settings.surrealdb_access_key):
        needed = "a server needs it and SURREALDB_PASSWORD, or SURREALDB_ACCESS_KEY"
        problems.append(Problem("SURREALDB_USERNAME", needed))
    if needs is not Needs.DATABASE:
        problems += [
            Problem(name.upper(), "is required")
            for name in _WORK
            if getattr(settings, name) is None
        ]
    if needs is Needs.WEB:
        ways = [settings.auth_jwt_secret, settings.auth_jwks_url]
        if all(ways):
            problems.append(Problem("AUTH_JWT_SECRET", "set it or AUTH_JWKS_URL, not both"))
        if not any([*ways, settings.auth_development_user]):
            problems.append(Problem("AUTH_JWT_SECRET", "is required, or AUTH_JWKS_URL"))
    return problems


def _unsafe(settings: Settings) -> list[Problem]:
    """What only development may do.

    Plain http, which can be read and changed on its way, and a user without a sign-in.
    """
    if settings.development:
        return []
    problems = [
        Problem(name.upper(), "must be https:// (or set ENVIRONMENT=development)")
        for name in _OUTBOUND
        if str(getattr(settings, name) or "https://").startswith("http://")
    ]
    if any(each.startswith("http://") for each in settings.allowed_origins):
        problems.append(Problem("CORS_ORIGINS", "must all be https://"))
    if settings.auth_development_user:
        problems.append(Problem("AUTH_DEVELOPMENT_USER", "only with ENVIRONMENT=development"))
    return problems
