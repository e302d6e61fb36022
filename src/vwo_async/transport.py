"""How events are sent: what a transport of your own must do, and the built-in one's time-outs.

Give an object with `Transport`'s two methods as the launch option ``transport`` to send in another way.
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
