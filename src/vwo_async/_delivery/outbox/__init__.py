"""Durable queues: where accepted events survive the process."""
