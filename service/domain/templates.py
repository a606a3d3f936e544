"""Templates: prompts with {{VARIABLES}}, a default provider and its options."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from service.domain.errors import FieldError, Invalid

SLUG: Final = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*$")
VARIABLE: Final = re.compile(r"\{\{\s*([A-Z][A-Z0-9_]*)\s*\}\}")

MAX_PROMPT: Final = 2_500  # characters; the shortest limit of the providers' prompt fields
MAX_VALUE: Final = 200  # characters; a name or a short phrase, not a second prompt
MAX_VARIABLES: Final = 20

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """A prompt addressed by `slug`. Its variables are exactly those its prompt names."""

    slug: str
    title: str
    prompt: str
    provider: str
    duration_s: int
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names in the prompt, in the order they first appear."""
        return tuple(dict.fromkeys(VARIABLE.findall(self.prompt)))


def check_template(template: Template) -> list[FieldError]:
    """Everything wrong with a template's own words; the provider checks its options."""
    errors = []
    if not SLUG.fullmatch(template.slug):
        errors.append(FieldError("slug", "must be words of a-z and 0-9 joined by hyphens"))
    if not template.title.strip():
        errors.append(FieldError("title", "must not be empty"))
    if not 0 < len(template.prompt.strip()) <= MAX_PROMPT:
        errors.append(FieldError("prompt", f"must have 1 to {MAX_PROMPT} characters"))
    if len(template.variables) > MAX_VARIABLES:
        errors.append(FieldError("prompt", f"may name at most {MAX_VARIABLES} variables"))
    if "{{" in VARIABLE.sub("", template.prompt):
        errors.append(
            FieldError("prompt", "has a {{…}} that is no variable; names are A-Z, 0-9 and _")
        )
    return errors


def fill(template: Template, values: Mapping[str, str]) -> str:
    """The prompt with every variable filled in, once: a value's own braces stay text.

    Raises Invalid naming every variable that is missing, unknown, empty or too long.
    """
    wanted = template.variables
    errors = [
        FieldError(f"variables.{name}", f"the template has no such variable; it has {list(wanted)}")
        for name in values
        if name not in wanted
    ]
    errors += [
        FieldError(f"variables.{name}", problem)
        for name in wanted
        if (problem := _problem(values.get(name))) is not None
    ]
    if errors:
        raise Invalid(errors)
    prompt = VARIABLE.sub(lambda match: values[match[1]].strip(), template.prompt)
    if len(prompt) > MAX_PROMPT:
        raise Invalid([FieldError("variables", f"the prompt would exceed {MAX_PROMPT} characters")])
    return prompt


def _problem(value: str | None) -> str | None:
    if value is None:
        return "is missing"
    if not value.strip():
        return "must not be empty"
    if len(value) > MAX_VALUE:
        return f"must have at most {MAX_VALUE} characters"
    if _CONTROL.search(value):
        return "must not contain control characters"
    return None
