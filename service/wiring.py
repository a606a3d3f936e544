"""Builds the adapters from the settings, and closes them in reverse order."""

import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx
import jwt
from nacl.signing import VerifyKey
from pydantic import SecretStr

from service.adapters.audit_store import SurrealAuditStore
from service.adapters.fal import FalSettings, open_fal
from service.adapters.fal_signature import FalVerifier, parse_ed25519
from service.adapters.identity import Identity
from service.adapters.key_set import KeySet
from service.adapters.metered import MeteredBucket, MeteredFal
from service.adapters.metrics import Metrics
from service.adapters.migrate import find_migrations, migrate, pending
from service.adapters.object_store import BucketSettings, open_bucket
from service.adapters.outbound import DownloadLimits, OutboundPolicy, guarded_client, tls_context
from service.adapters.permissions import prove_permitted
from service.adapters.poster import FramePoster
from service.adapters.shipped import load_shipped_templates
from service.adapters.standing import SurrealStanding
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database, DatabaseSettings
from service.adapters.tokens import Tokens, TokenSettings, parse_public_key
from service.adapters.tracing import open_tracing
from service.adapters.video_source import HttpVideoSource
from service.domain.policy import DAY_S, Policy
from service.ports import Bucket, Services, Signals
from service.settings import Settings
from service.worker import Nudges, running_audits

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
    metrics: Metrics
    standing: SurrealStanding


@asynccontextmanager
async def open_store(settings: Settings, *, migrated: bool = True) -> AsyncIterator[SurrealStore]:
    """The database alone. An embedded one belongs to this process and is migrated by it.

    What is not to be migrated is opened by its owner. Raises NotMigrated for a server that lacks
    migrations, NotPermitted if the service's identity has too few rights there, and Transient if
    there is no answer.
    """
    database = Database(database_settings(settings, owner=not migrated))
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
        elif database.settings.identity is not None:
            await prove_permitted(database)
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
        holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        store = await stack.enter_async_context(open_store(settings))
        standing = SurrealStanding(store.database)
        spans = await stack.enter_async_context(
            open_tracing(settings.otel_exporter_otlp_endpoint, holder)
        )
        metrics = Metrics(standing.read, spans)
        store.database.signals = metrics
        fal = await stack.enter_async_context(open_fal(fal_settings(settings)))
        bucket = await stack.enter_async_context(open_bucket(bucket_settings(settings)))
        outbound = OutboundPolicy(
            allowed_hosts=settings.result_hosts, development=settings.development
        )
        limits = DownloadLimits(max_bytes=settings.max_video_bytes)
        cdn = await stack.enter_async_context(guarded_client(outbound, limits))
        keys_client = await stack.enter_async_context(
            httpx.AsyncClient(trust_env=False, verify=tls_context())
        )
        fal_keys = KeySet(
            keys_client, settings.fal_jwks_url, parse_ed25519, name="fal", signals=metrics
        )
        nudges = Nudges()
        services = Services(
            policy=_policy(settings),
            store=store,
            fal=MeteredFal(fal, metrics),
            bucket=MeteredBucket(bucket, metrics),
            source=HttpVideoSource(cdn, outbound, limits),
            verifier=FalVerifier(fal_keys, user_id=settings.fal_user_id),
            nudge=nudges,
            poster=FramePoster(),
            signals=metrics,
        )
        yield Runtime(
            settings=settings,
            services=services,
            store=store,
            nudges=nudges,
            fal_keys=fal_keys,
            tokens=_tokens(settings, keys_client, metrics),
            holder=holder,
            metrics=metrics,
            standing=standing,
        )


def auditing(runtime: Runtime) -> AbstractAsyncContextManager[None]:
    """The periodic audit, for the processes that sweep."""
    facts = SurrealAuditStore(runtime.store.database)
    interval_s = runtime.settings.audit_interval_s
    return running_audits(runtime.standing, facts, runtime.holder, interval_s)


@asynccontextmanager
async def open_bucket_alone(settings: Settings) -> AsyncIterator[Bucket]:
    """The bucket without the rest, for the audit."""
    async with open_bucket(bucket_settings(settings)) as bucket:
        yield bucket


def database_settings(settings: Settings, *, owner: bool = False) -> DatabaseSettings:
    """The way to the database: for its owner, or as the service's own identity if it has one."""
    identity = None
    if settings.surrealdb_access_key is not None and not settings.embedded and not owner:
        identity = Identity(
            key=settings.surrealdb_access_key.get_secret_value(),
            namespace=settings.surrealdb_namespace,
            database=settings.surrealdb_database,
        )
    return DatabaseSettings(
        url=settings.surrealdb_url,
        namespace=settings.surrealdb_namespace,
        database=settings.surrealdb_database,
        username=settings.surrealdb_username,
        password=_open(settings.surrealdb_password),
        identity=identity,
    )


def fal_settings(settings: Settings) -> FalSettings:
    return FalSettings(
        key=_required(settings.fal_key),
        queue_url=settings.fal_queue_url,
        platform_url=settings.fal_platform_url,
    )


def bucket_settings(settings: Settings) -> BucketSettings:
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
        max_at_fal=settings.max_at_fal,
        keep_deliveries_s=settings.keep_deliveries_days * DAY_S,
        keep_parked_s=settings.keep_parked_days * DAY_S,
        keep_start_images_s=settings.keep_start_images_days * DAY_S,
    )


def _tokens(settings: Settings, client: httpx.AsyncClient, signals: Signals) -> Tokens:
    keys: KeySet[jwt.PyJWK] | None = None
    if settings.auth_jwks_url is not None:
        keys = KeySet(
            client, settings.auth_jwks_url, parse_public_key, name="sign_in", signals=signals
        )
    return Tokens(
        TokenSettings(
            secret=_open(settings.auth_jwt_secret),
            keys=keys,
            audience=settings.auth_audience,
            issuer=settings.auth_issuer,
            must_expire=not settings.development,
        )
    )


def _open(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _required(secret: SecretStr | None) -> str:
    assert secret is not None, "read_settings reports what is missing"
    return secret.get_secret_value()
