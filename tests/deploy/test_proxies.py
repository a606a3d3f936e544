"""The proxies' configurations, judged by the proxies themselves."""

from pathlib import Path

import yaml

from service.settings import Settings
from service.web.bodies import FORM_BODY_S, FORM_OVERHEAD_BYTES
from service.web.events import HEARTBEAT_S, MAX_WAIT_S
from service.web.serving import KEEP_ALIVE_S
from tests.deploy.files import ROOT
from tests.deploy.proxies import PROXIES, Place, prepare
from tests.deploy.tools import run_tool
from tests.r2.tls import write_certificates

WEBHOOK = "/api/fal/webhook/"
EVENTS = "/api/templates/video/events"
SETTINGS = Settings.model_fields


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    command, environment = prepare("nginx", tmp_path, _place(tmp_path))
    said = run_tool(Path(command[0]).name, "-t", *command[1:], environment=environment)
    assert "[warn]" not in said, said


def test_caddy_takes_its_configuration_and_would_write_it_so(tmp_path: Path) -> None:
    command, environment = prepare("caddy", tmp_path, _place(tmp_path))
    run_tool(Path(command[0]).name, "validate", *command[2:], environment=environment)
    original = PROXIES / "Caddyfile"
    assert run_tool("caddy", "fmt", str(original)) == original.read_text("utf-8")


def test_limits_and_patience_are_those_of_the_service() -> None:
    image, webhook = SETTINGS["max_image_bytes"], SETTINGS["max_webhook_bytes"]
    form = image.default + FORM_OVERHEAD_BYTES
    largest = max(each.le for each in webhook.metadata if hasattr(each, "le"))
    nginx, caddy = _text("nginx.conf"), _text("Caddyfile")
    assert form < 11_000_000, "nothing that the service would take is too large for a proxy"
    assert "client_max_body_size 11m;" in nginx
    assert "max_size 11MB" in caddy
    assert nginx.count(f"client_max_body_size {largest // 1024**2}m;") == 2
    assert max(HEARTBEAT_S, MAX_WAIT_S) < 60
    assert "proxy_read_timeout 60s;" in nginx
    assert FORM_BODY_S < 130
    assert "client_body_timeout 130s;" in nginx
    assert "read_body 130s" in caddy
    assert KEEP_ALIVE_S > 60, "a proxy closes an idle connection before the service does"
    assert "keepalive_timeout 60s;" in nginx
    assert "keepalive 60s" in caddy


def test_the_paths_that_are_named_are_routes() -> None:
    routes = (ROOT / "service/web/app.py").read_text("utf-8")
    assert f'"{WEBHOOK}{{token}}"' in routes
    assert f'"{EVENTS}"' in routes
    for name in ("nginx.conf", "Caddyfile", "cloudflared.yml"):
        assert WEBHOOK in _text(name), name
    assert f"location = {EVENTS} {{" in _text("nginx.conf")


def test_the_tunnel_opens_the_webhook_and_nothing_else() -> None:
    first, last = yaml.safe_load(_text("cloudflared.yml"))["ingress"]
    assert first["path"] == f"^{WEBHOOK}"
    assert first["service"].endswith(f":{SETTINGS['port'].default}")
    assert last == {"service": "http_status:404"}
    assert "httpHostHeader" not in first.get("originRequest", {})


def _place(folder: Path) -> Place:
    write_certificates(folder)
    return Place(http=8080, https=8443, webs=(8000, 8001), tls=folder)


def _text(name: str) -> str:
    return (PROXIES / name).read_text("utf-8")
