"""How large a settings file may be."""

MAX_SETTINGS_BYTES = 10_000_000
