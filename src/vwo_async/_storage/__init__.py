"""How the client asks a user storage: bounded in time, and one call about a user after another."""
