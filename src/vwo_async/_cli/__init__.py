"""The command `vwo-async`: what a developer asks about a settings file, users and events."""
