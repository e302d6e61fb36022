"""Durable queues, for the launch option ``outbox``.

A path given there means `SqliteOutbox` with its defaults; an outbox of your own has `Outbox`'s methods, and
hands out what an earlier process left as `Row`. It may also say what it holds, as `Stock`. An `EventStream`
takes events over for other processes to deliver, as `vwo_async.fleet.RedisStreamOutbox` does.
"""

from ._delivery.event_stream import EventStream
from ._delivery.outbox.protocol import Outbox, Row, Stock
from ._delivery.outbox.sqlite import SqliteOutbox
from ._home import rehome

__all__ = ["EventStream", "Outbox", "Row", "SqliteOutbox", "Stock"]

rehome(globals())
