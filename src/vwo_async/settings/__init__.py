"""The settings file: its models and how to read it."""

from .model import Settings
from .parse import parse_settings

__all__ = ["Settings", "parse_settings"]
