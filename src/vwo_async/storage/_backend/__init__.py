"""What the storages for databases, for Redis and in memory are made of."""
