"""Many processes: events that others deliver, the relay that delivers them, and settings for all."""
