"""fal-video templates: load templates from a JSON file, list those in the database."""

import argparse
from functools import partial
from pathlib import Path

from service.adapters.shipped import parse_templates
from service.commands.running import run_command, say, say_json
from service.settings import Needs, Settings
from service.web.views import template_view
from service.wiring import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    load = actions.add_parser("load", help="add or replace the templates in a JSON file")
    load.add_argument("file", type=Path)
    listing = actions.add_parser("list", help="slugs, variables and default providers")
    listing.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    act = load_now if options.action == "load" else list_now
    return run_command(partial(act, options=options), Needs.DATABASE)


async def load_now(settings: Settings, options: argparse.Namespace) -> int:
    """All templates of the file, or none if one is wrong."""
    templates = parse_templates(options.file.read_bytes())
    async with open_store(settings) as store:
        for template in templates:
            await store.save_template(template)
            say(f"loaded {template.slug} ({', '.join(template.variables) or 'no variables'})")
    return 0


async def list_now(settings: Settings, options: argparse.Namespace) -> int:
    async with open_store(settings) as store:
        templates = await store.templates()
    if options.json:
        allow = settings.allow_retired_providers
        say_json([template_view(each, allow_retired=allow) for each in templates])
        return 0
    for each in templates:
        say(f"{each.slug:<24} {each.provider:<10} {', '.join(each.variables)}")
    return 0
