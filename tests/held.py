"""What a queue holds, counted one by one, beside what it says that it holds."""

from __future__ import annotations

from vwo_async._delivery.queue import Queue


def count_held(queue: Queue) -> int:
    """Count the pending events of *queue*."""
    ready = sum(map(len, queue._ready))
    return ready + sum(len(batch.events) for batch in queue._list_batches()) + queue.kept
