"""How VWO FME decides a feature flag: pure and synchronous, like the whole core."""
