"""For services of many processes on many machines, with Redis: needs the extra ``redis``.

`RedisStreamOutbox`, for the launch option ``outbox``, hands accepted events to streams; a `Relay`, which
``vwo-async relay`` runs, delivers them to VWO. `RedisSettings`, for the option ``shared`` of a settings source,
has one process ask VWO for settings that all use.
"""

from ._fleet.redis_settings import RedisSettings
from ._fleet.redis_stream import RedisStreamOutbox
from ._fleet.relay import Relay, RelayStatistics
from ._fleet.relay_account import RelayAccount
from ._home import rehome

__all__ = ["RedisSettings", "RedisStreamOutbox", "Relay", "RelayAccount", "RelayStatistics"]

rehome(globals())
