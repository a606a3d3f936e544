"""Every check, in the order of the report."""

from typing import Final

from service.doctor import configuration, database, outside, storage
from service.doctor.checks import Check

_R2: Final = ("r2_endpoint_url", "r2_bucket", "r2_access_key_id", "r2_secret_access_key")
_DATABASE: Final = ("surrealdb_url", "surrealdb_username", "surrealdb_access_key")

CHECKS: Final = (
    Check(name="settings", act=configuration.check_settings),
    Check(name="database", act=database.check_database, settings=_DATABASE),
    Check(name="migrations", act=database.check_migrations, needs=("database",)),
    Check(name="writing", act=database.check_writing, needs=("migrations",)),
    Check(name="identity", act=database.check_identity, needs=("database",)),
    Check(
        name="bucket",
        act=storage.check_bucket,
        settings=_R2,
        deadline_s=storage.DEADLINE_S,
    ),
    Check(
        name="public address",
        act=storage.check_public_address,
        needs=("bucket",),
        settings=("r2_public_base_url",),
    ),
    Check(name="key set", act=outside.check_key_set, settings=("fal_jwks_url",)),
    Check(name="clock", act=outside.check_clock, settings=("fal_jwks_url",)),
    Check(name="fal key", act=outside.check_fal_key, settings=("fal_key", "fal_queue_url")),
    Check(
        name="listing",
        act=outside.check_listing,
        needs=("fal key",),
        settings=("fal_platform_url",),
    ),
    Check(name="account", act=configuration.check_account, settings=("fal_user_id",)),
    Check(name="deliveries", act=database.check_deliveries, needs=("migrations",)),
    Check(
        name="webhook",
        act=outside.check_webhook,
        settings=("public_base_url", "webhook_seal_key", "max_webhook_bytes"),
        deadline_s=outside.WEBHOOK_S,
    ),
    Check(
        name="sign-in",
        act=outside.check_sign_in,
        settings=("auth_jwt_secret", "auth_jwks_url", "auth_audience", "auth_issuer"),
    ),
    Check(
        name="operators",
        act=configuration.check_operators,
        settings=("ops_token", "metrics_token"),
    ),
    Check(
        name="result hosts",
        act=configuration.check_result_hosts,
        settings=("fal_result_hosts",),
    ),
)
