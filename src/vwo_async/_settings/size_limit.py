"""How large a settings file may be, in bytes."""

MAX_SETTINGS_BYTES = 10_000_000
