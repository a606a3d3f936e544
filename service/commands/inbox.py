"""fal-video inbox: fal's deliveries that wait or need a person; show one, redrive a parked one."""

import argparse
from functools import partial

from service.commands.jobs import SHOWN, entry_facts
from service.commands.running import run_command, say, say_json
from service.domain.verdict import writable
from service.settings import Needs, Settings
from service.wiring import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    listing = actions.add_parser("list", help="deliveries that are still to be handled")
    listing.add_argument("--parked", action="store_true", help="those that need a person instead")
    listing.add_argument("--job", metavar="ID", help="all of one job's")
    listing.add_argument("--limit", type=int, default=SHOWN)
    show = actions.add_parser("show", help="one delivery, with its raw body")
    redrive = actions.add_parser("redrive", help="have a parked delivery handled once more")
    for each in (show, redrive):
        each.add_argument("id")
    for each in (listing, show):
        each.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    actions = {"list": list_now, "show": show_now, "redrive": redrive_now}
    return run_command(partial(actions[options.action], options=options), Needs.DATABASE)


async def list_now(settings: Settings, options: argparse.Namespace) -> int:
    async with open_store(settings) as store:
        entries = await store.find_deliveries(
            parked=options.parked, job_id=options.job, limit=options.limit
        )
    if options.json:
        say_json([entry_facts(each) for each in entries])
        return 0
    for each in entries:
        said = each.outcome or "waiting"
        say(f"{each.id}  {each.job_id:<34} {each.received_at:%Y-%m-%d %H:%M:%S}  {said}")
    if not entries:
        say("none")
    return 0


async def show_now(settings: Settings, options: argparse.Namespace) -> int:
    async with open_store(settings) as store:
        entry = await store.delivery(options.id)
    text = writable(entry.body.decode("utf-8", "backslashreplace"))
    facts = entry_facts(entry) | {"body": text}
    if options.json:
        say_json(facts)
        return 0
    for name, value in facts.items():
        if value is not None:
            say(f"{name:<12} {value}")
    return 0


async def redrive_now(settings: Settings, options: argparse.Namespace) -> int:
    async with open_store(settings) as store:
        entry = await store.delivery(options.id)
        if await store.redrive_delivery(options.id):
            say(f"{options.id}: redriven; the next sweep handles it")
        else:
            said = f"handled: {entry.outcome}" if entry.handled_at else "waiting"
            say(f"{options.id}: is not parked ({said}); nothing was changed")
    return 0
