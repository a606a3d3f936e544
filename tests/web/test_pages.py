"""The page's files, and what the browser is told about them."""

import re
from pathlib import Path

import pytest

from service.settings import Needs, read_settings
from service.web.pages import FRONTEND, content_policy
from tests.world import World

on_shared = pytest.mark.asyncio(loop_scope="package")

PRODUCTION = {
    "R2_ENDPOINT_URL": "https://account.r2.example/",
    "R2_PUBLIC_BASE_URL": "https://videos.example/folder",
    "FAL_RESULT_HOSTS": "fal.media, cdn.example",
    "SURREALDB_URL": "mem://",
}


def directives(policy: str) -> dict[str, set[str]]:
    found = {}
    for each in policy.split("; "):
        name, *sources = each.split(" ")
        found[name] = set(sources)
    return found


def files() -> list[str]:
    return sorted(
        str(each.relative_to(FRONTEND))
        for each in FRONTEND.rglob("*")
        if each.is_file() and each.name != "index.html"
    )


def test_the_policy_allows_our_own_code_and_the_media_we_name_and_nothing_else() -> None:
    settings = read_settings(PRODUCTION, Needs.DATABASE)
    policy = directives(content_policy(settings))
    bucket = {"https://account.r2.example", "https://videos.example"}
    hosts = {"https://fal.media", "https://*.fal.media", "https://cdn.example"}
    assert policy["default-src"] == {"'none'"}
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == {"'self'"}
    assert policy["img-src"] == {"'self'", "blob:"} | bucket
    assert policy["media-src"] == policy["img-src"] | hosts | {"https://*.cdn.example"}
    for name in ("base-uri", "form-action", "frame-ancestors"):
        assert policy[name] == {"'none'"}


@on_shared
async def test_the_page_is_html_under_that_policy(shared: World) -> None:
    answer = await shared.http.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"] == content_policy(shared.settings)
    assert answer.headers["x-content-type-options"] == "nosniff"
    inline = re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", answer.text)
    assert inline == []


@on_shared
async def test_what_the_page_names_is_there_and_nobody_elses(shared: World) -> None:
    page = (await shared.http.get("/")).text
    named = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert named
    for each in named:
        assert each.startswith("/"), f"{each} is somebody else's"
        assert (await shared.http.get(each)).status_code == 200


@on_shared
@pytest.mark.parametrize("name", files())
async def test_every_file_is_served_with_its_type_and_asked_about_again(
    shared: World, name: str
) -> None:
    answer = await shared.http.get(f"/frontend/{name}")
    assert answer.status_code == 200
    assert answer.content == (FRONTEND / name).read_bytes()
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    assert answer.headers["content-type"].split(";")[0] == kinds.get(
        Path(name).suffix, answer.headers["content-type"].split(";")[0]
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    tag = {"If-None-Match": answer.headers["etag"]}
    assert (await shared.http.get(f"/frontend/{name}", headers=tag)).status_code == 304


@on_shared
@pytest.mark.parametrize(
    "path", ["/frontend/", "/frontend/no.js", "/frontend/../settings.py", "/frontend/%2e%2e/app.py"]
)
async def test_nothing_but_these_files_is_served(shared: World, path: str) -> None:
    assert (await shared.http.get(path)).status_code == 404
