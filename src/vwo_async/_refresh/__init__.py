"""Where settings files come from and when they are fetched again."""
