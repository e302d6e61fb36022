"""How events are sent: what a transport of your own must do, and the built-in one's time-outs.

Give an object with `Transport`'s two methods as the launch option ``transport`` to send in another way: it
gets a `Request` and returns an `Answer`, which is a status or a `Failure`, and raises nothing for what the
network or the server does. `Timeouts` bounds one try and `Limits` the event queue, as the launch options
``timeouts`` and ``limits``. `HttpxTransport` is what is used by default, for `VWO_BASE_URL`.
"""

from ._delivery.answer import Answer, Failure
from ._delivery.queue import Limits
from ._delivery.request import Request
from ._delivery.transport.httpx import HttpxTransport
from ._delivery.transport.protocol import VWO_BASE_URL, Timeouts, Transport
from ._home import rehome

__all__ = [
    "VWO_BASE_URL",
    "Answer",
    "Failure",
    "HttpxTransport",
    "Limits",
    "Request",
    "Timeouts",
    "Transport",
]

rehome(globals())
