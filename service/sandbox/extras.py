"""Libraries that only an install with the `sandbox` extra has, loaded when first needed."""

from importlib import import_module
from types import ModuleType


class MissingExtraError(RuntimeError):
    """The sandbox was started without its optional libraries: the message says the remedy."""


def load(name: str) -> ModuleType:
    """Import `name` now. Raises MissingExtraError where the extra is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(f"{name} is missing: install fal-video[sandbox]") from error
