"""Templates as JSON: those the service ships, and files an operator loads."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from service.domain.errors import FieldError, Invalid
from service.domain.providers import provider_named
from service.domain.templates import Template, check_template

_FIELDS = {
    "slug": str,
    "title": str,
    "prompt": str,
    "provider": str,
    "durationSeconds": int,
    "options": dict,
}


@cache
def load_shipped_templates() -> tuple[Template, ...]:
    """The templates every installation starts with."""
    path = Path(__file__).parents[1] / "templates.json"
    return tuple(parse_templates(path.read_bytes()))


def parse_templates(text: str | bytes) -> list[Template]:
    """One template, or a list of them. Raises Invalid naming every field that is wrong."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid([FieldError("file", f"is not JSON: {error}")]) from error
    items = data if isinstance(data, list) else [data]
    errors: list[FieldError] = []
    templates = []
    for index, item in enumerate(items):
        try:
            templates.append(_template(item))
        except Invalid as invalid:
            errors += [FieldError(f"[{index}].{e.field}", e.message) for e in invalid.errors]
    if errors:
        raise Invalid(errors)
    return templates


def _template(item: Any) -> Template:
    if not isinstance(item, dict):
        raise Invalid([FieldError("template", f"must be an object with {', '.join(_FIELDS)}")])
    errors = [FieldError(name, "is not a field of a template") for name in item.keys() - _FIELDS]
    for name, kind in _FIELDS.items():
        if name != "options" and name not in item:
            errors.append(FieldError(name, "is missing"))
        elif name in item and (not isinstance(item[name], kind) or isinstance(item[name], bool)):
            errors.append(FieldError(name, f"must be of type {kind.__name__}"))
    if errors:
        raise Invalid(errors)
    template = Template(
        slug=item["slug"],
        title=item["title"],
        prompt=item["prompt"],
        provider=item["provider"],
        duration_s=item["durationSeconds"],
        options=item.get("options", {}),
    )
    # A template may name a retired model; using it is refused, or allowed by a setting, later.
    provider = provider_named(template.provider, allow_retired=True)
    errors = [*check_template(template), *provider.check(template.duration_s, template.options)]
    if errors:
        raise Invalid(errors)
    return template
