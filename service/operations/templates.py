"""templates.*: those in the database, and adding or replacing some."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from pydantic import Field

from service.adapters.shipped import parse_templates
from service.domain.templates import Template
from service.operations.base import Arguments, Context, NoArguments


class TemplateAnswer(TypedDict):
    slug: str
    title: str
    prompt: str
    variables: list[str]
    provider: str
    durationSeconds: int
    options: Mapping[str, Any]


class TemplatesAnswer(TypedDict):
    templates: list[TemplateAnswer]


class LoadedTemplates(TemplatesAnswer):
    changed: bool


class LoadTemplates(Arguments):
    """Templates as service/templates.json has them."""

    templates: Annotated[list[Any], Field(min_length=1, max_length=200)]


async def list_templates(context: Context, _: NoArguments) -> TemplatesAnswer:
    return {"templates": [_answer(each) for each in await context.store.templates()]}


async def load(context: Context, wanted: LoadTemplates) -> LoadedTemplates:
    """Add or replace all of them, or none if one is wrong. Raises Invalid, naming every field."""
    templates = parse_templates(json.dumps(wanted.templates))
    for each in templates:
        await context.store.save_template(each)
    return {"changed": True, "templates": [_answer(each) for each in templates]}


def slugs(wanted: LoadTemplates) -> dict[str, Any]:
    """What is noted of a load: which, not every word of them."""
    return {"slugs": [each["slug"] for each in wanted.templates]}


def _answer(template: Template) -> TemplateAnswer:
    return {
        "slug": template.slug,
        "title": template.title,
        "prompt": template.prompt,
        "variables": list(template.variables),
        "provider": template.provider,
        "durationSeconds": template.duration_s,
        "options": template.options,
    }
