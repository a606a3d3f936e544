"""fal-video templates: load templates from a JSON file, list those in the database."""

import argparse
import json
from pathlib import Path
from typing import Any

from service.adapters.shipped import parse_templates
from service.commands.asking import ask
from service.commands.running import FAILED, complain, say
from service.commands.tables import plain, say_table
from service.domain.errors import Invalid


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    load = actions.add_parser("load", help="add or replace the templates in a JSON file")
    load.add_argument("file", type=Path)
    listing = actions.add_parser("list", help="slugs, variables and default providers")
    for each in (load, listing):
        each.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    if options.action == "list":
        return ask("templates.list", {}, show_list, as_json=options.json)
    try:
        text = options.file.read_bytes()
        parse_templates(text)
    except OSError as error:
        return complain(f"{error.filename}: {error.strerror}", FAILED)
    except Invalid as error:
        return complain(str(error), FAILED)
    found = json.loads(text)
    items = found if isinstance(found, list) else [found]
    return ask("templates.load", {"templates": items}, show_loaded, as_json=options.json)


def show_loaded(answer: Any) -> None:
    for each in answer["templates"]:
        say(f"loaded {each['slug']} ({plain(', '.join(each['variables']) or 'no variables')})")


def show_list(answer: Any) -> None:
    rows = [
        (each["slug"], each["provider"], each["durationSeconds"], ", ".join(each["variables"]))
        for each in answer["templates"]
    ]
    say_table(("slug", "provider", "seconds", "variables"), rows)
