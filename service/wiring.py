"""Builds the adapters from the settings, and closes them in reverse order."""

import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx
import jwt
from nacl.signing import VerifyKey
from pydantic import SecretStr

from service.adapters.fal import FalSettings, open_fal
from service.adapters.fal_signature import FalVerifier, parse_ed25519
from service.adapters.key_set import KeySet
from service.adapters.migrate import find_migrations, migrate, pending
from service.adapters.object_store import BucketSettings, open_bucket
from service.adapters.outbound import DownloadLimits, OutboundPolicy, guarded_client, tls_context
from service.adapters.poster import FramePoster
from service.adapters.shipped import load_shipped_templates
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database, DatabaseSettings
from service.adapters.tokens import Tokens, TokenSettings, parse_public_key
from service.adapters.video_source import HttpVideoSource
from service.domain.policy import Policy
from service.ports import Bucket, Services
from service.settings import Settings
from service.worker import Nudges

SHOWN_STEPS: Final = 5  # of an unmigrated database's pending steps; the rest is counted


class NotMigrated(Exception):
    """The database lacks migrations this code needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """One process's parts. `holder` names it in leases."""

    settings: Settings
    services: Services
    store: SurrealStore
    nudges: Nudges
    fal_keys: KeySet[VerifyKey]
    tokens: Tokens
    holder: str


@asynccontextmanager
async def open_store(settings: Settings, *, migrated: bool = True) -> AsyncIterator[SurrealStore]:
    """The database alone. An embedded one belongs to this process and is migrated by it.

    Raises NotMigrated for a server that lacks migrations, and Transient if there is no answer.
    """
    database = Database(database_settings(settings))
    try:
        await database.open()
        store = SurrealStore(database)
        if settings.embedded and migrated:
            await prepare(store, report=lambda _: None)
        elif migrated and (missing := await pending(database, find_migrations())):
            named = ", ".join(missing[:SHOWN_STEPS])
            raise NotMigrated(
                f"the database lacks {len(missing)} migrations ({named}): run fal-video migrate"
            )
        yield store
    finally:
        await database.close()


async def prepare(store: SurrealStore, report: Callable[[str], None]) -> int:
    """Migrate, and add the shipped templates that are not there; how many migrations ran."""
    applied = await migrate(store.database, find_migrations(), report)
    for template in load_shipped_templates():
        if await store.add_template(template):
            report(f"template added: {template.slug}")
    return applied


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Everything a web process or a reconciler needs."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings))
        fal = await stack.enter_async_context(open_fal(_fal_settings(settings)))
        bucket = await stack.enter_async_context(open_bucket(_bucket_settings(settings)))
        outbound = OutboundPolicy(
            allowed_hosts=settings.result_hosts, development=settings.development
        )
        limits = DownloadLimits(max_bytes=settings.max_video_bytes)
        cdn = await stack.enter_async_context(guarded_client(outbound, limits))
        keys_client = await stack.enter_async_context(
            httpx.AsyncClient(trust_env=False, verify=tls_context())
        )
        fal_keys = KeySet(keys_client, settings.fal_jwks_url, parse_ed25519)
        nudges = Nudges()
        services = Services(
            policy=_policy(settings),
            store=store,
            fal=fal,
            bucket=bucket,
            source=HttpVideoSource(cdn, outbound, limits),
            verifier=FalVerifier(fal_keys, user_id=settings.fal_user_id),
            nudge=nudges,
            poster=FramePoster(),
        )
        yield Runtime(
            settings=settings,
            services=services,
            store=store,
            nudges=nudges,
            fal_keys=fal_keys,
            tokens=_tokens(settings, keys_client),
            holder=f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}",
        )


@asynccontextmanager
async def open_bucket_alone(settings: Settings) -> AsyncIterator[Bucket]:
    """The bucket without the rest, for the audit."""
    async with open_bucket(_bucket_settings(settings)) as bucket:
        yield bucket


def database_settings(settings: Settings) -> DatabaseSettings:
    return DatabaseSettings(
        url=settings.surrealdb_url,
        namespace=settings.surrealdb_namespace,
        database=settings.surrealdb_database,
        username=settings.surrealdb_username,
        password=_open(settings.surrealdb_password),
    )


def _fal_settings(settings: Settings) -> FalSettings:
    return FalSettings(
        key=_required(settings.fal_key),
        queue_url=settings.fal_queue_url,
        platform_url=settings.fal_platform_url,
    )


def _bucket_settings(settings: Settings) -> BucketSettings:
    return BucketSettings(
        endpoint_url=settings.r2_endpoint_url or "",
        bucket=settings.r2_bucket or "",
        access_key_id=settings.r2_access_key_id or "",
        secret_access_key=_required(settings.r2_secret_access_key),
        public_base_url=settings.r2_public_base_url,
    )


def _policy(settings: Settings) -> Policy:
    return Policy(
        public_base_url=settings.public_base_url or "",
        seal_key=_required(settings.webhook_seal_key).encode(),
        expected_render_s=settings.expected_render_s,
        reconcile_interval_s=settings.reconcile_interval_s,
        allow_retired_providers=settings.allow_retired_providers,
        lease_s=settings.lease_s,
        max_in_flight=settings.max_in_flight,
    )


def _tokens(settings: Settings, client: httpx.AsyncClient) -> Tokens:
    keys: KeySet[jwt.PyJWK] | None = None
    if settings.auth_jwks_url is not None:
        keys = KeySet(client, settings.auth_jwks_url, parse_public_key)
    return Tokens(
        TokenSettings(
            secret=_open(settings.auth_jwt_secret),
            keys=keys,
            audience=settings.auth_audience,
            issuer=settings.auth_issuer,
        )
    )


def _open(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _required(secret: SecretStr | None) -> str:
    assert secret is not None, "read_settings reports what is missing"
    return secret.get_secret_value()
