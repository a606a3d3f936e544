"""What a sandbox can be told before it starts."""

from dataclasses import dataclass
from typing import Final

LOOPBACK: Final = "127.0.0.1"
DEFAULT_KEY: Final = "sandbox-id:sandbox-secret"


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxSettings:
    """Ports of 0 mean any free port. Times are in seconds unless `time_scale` is named.

    `fal_key` None accepts every non-empty key. `render_s` is the least time a request stays
    IN_PROGRESS, `slots` how many may be there at once. `time_scale` shrinks the webhook
    schedule only (attempt timeouts, pauses and the one hour window): 0.01 makes 36 s of it.
    `s3_process` runs the object store as its own process, so that its memory is not ours.
    """

    fal_port: int = 0
    s3_port: int = 0
    s3_process: bool = False
    fal_key: str | None = None
    user_id: str = "sandbox-1234"
    bucket: str = "videos"
    region: str = "auto"
    access_key_id: str = "sandbox-access-key"
    secret_access_key: str = "sandbox-secret-key"  # noqa: S105 - opens a loopback toy only
    render_s: float = 0.0
    slots: int = 2
    frame_size: tuple[int, int] = (854, 480)
    fps: int = 24
    time_scale: float = 1.0
    signing_seed: bytes | None = None
    max_image_bytes: int = 30 * 1024 * 1024
    image_timeout_s: float = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sandbox:
    """A running sandbox: where it listens and what opens it."""

    settings: SandboxSettings
    fal_url: str
    s3_url: str

    @property
    def jwks_url(self) -> str:
        return f"{self.fal_url}/.well-known/jwks.json"

    @property
    def platform_url(self) -> str:
        """The base of the platform API, as `https://api.fal.ai` is in production."""
        return self.fal_url

    @property
    def result_hosts(self) -> str:
        return LOOPBACK

    @property
    def bucket(self) -> str:
        return self.settings.bucket

    @property
    def access_key_id(self) -> str:
        return self.settings.access_key_id

    @property
    def secret_access_key(self) -> str:
        return self.settings.secret_access_key

    @property
    def user_id(self) -> str:
        return self.settings.user_id

    @property
    def fal_key(self) -> str:
        """A key the sandbox accepts."""
        return self.settings.fal_key or DEFAULT_KEY

    def environment(self) -> dict[str, str]:
        """The service's settings that make it talk to this sandbox."""
        return {
            "ENVIRONMENT": "development",
            "FAL_KEY": self.fal_key,
            "FAL_USER_ID": self.user_id,
            "FAL_QUEUE_URL": self.fal_url,
            "FAL_JWKS_URL": self.jwks_url,
            "FAL_PLATFORM_URL": self.platform_url,
            "FAL_RESULT_HOSTS": self.result_hosts,
            "R2_ENDPOINT_URL": self.s3_url,
            "R2_BUCKET": self.bucket,
            "R2_ACCESS_KEY_ID": self.access_key_id,
            "R2_SECRET_ACCESS_KEY": self.secret_access_key,
        }
