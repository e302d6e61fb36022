"""What a Redis server does in one step for a stream of events, as Lua scripts.

Each touches the keys of one shard, so that they work in a cluster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError

from ..storage._backend.redis_pool import leaving_replica

# KEYS: stream. ARGV: most entries, whether the oldest give way, then the entries.
# Answer: whether they were taken, and how many gave way.
ADD = """
local most, added = tonumber(ARGV[1]), #ARGV - 2
local length = redis.call('XLEN', KEYS[1])
if ARGV[2] == '0' and length + added > most then return {0, 0} end
for number = 3, #ARGV do redis.call('XADD', KEYS[1], '*', 'e', ARGV[number]) end
local gone = 0
if length + added > most then gone = redis.call('XTRIM', KEYS[1], 'MAXLEN', most) end
return {1, gone}
"""

# KEYS: stream. ARGV: group. Answer: whether it was made, with the stream.
# A server without memory left refuses what could need some, but not after a write that needs none: relays are
# what makes room in it.
ENSURE_GROUP = """
redis.call('XACK', KEYS[1], ARGV[1], '0-1')
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if not made.err then return 1 end
if string.find(made.err, 'BUSYGROUP', 1, true) then return 0 end
return made
"""

# KEYS: stream. ARGV: group, then ids that have ended: a few hundred, since Lua unpacks no more than thousands.
FORGET = """
redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2))
return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
"""

# KEYS: stream, its dead letters. ARGV: group, most dead letters, then id, reason, entry of each.
# An entry that another relay has buried meanwhile is not buried twice.
# Answer: how many were buried, and how many gave way.
BURY = """
local buried, before = 0, redis.call('XLEN', KEYS[2])
for number = 3, #ARGV, 3 do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[number])
  if redis.call('XDEL', KEYS[1], ARGV[number]) == 1 then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'reason', ARGV[number + 1], 'e', ARGV[number + 2])
    buried = buried + 1
  end
end
return {buried, before + buried - redis.call('XLEN', KEYS[2])}
"""

# KEYS: dead letters, stream. ARGV: ids of dead letters that are to be tried again.
REPLAY = """
local replayed = 0
for number = 1, #ARGV do
  local found = redis.call('XRANGE', KEYS[1], ARGV[number], ARGV[number])
  if found[1] then
    local fields = found[1][2]
    for place = 1, #fields, 2 do
      if fields[place] == 'e' then redis.call('XADD', KEYS[2], '*', 'e', fields[place + 1]) end
    end
    redis.call('XDEL', KEYS[1], ARGV[number])
    replayed = replayed + 1
  end
end
return replayed
"""

# A bucket of tokens, all relays' own. KEYS: its name. ARGV: tokens a second, most that it holds, wanted.
# Answer: how many were taken, and in how many milliseconds there will be one where it was none.
# The first write needs no memory, see ENSURE_GROUP.
TAKE_TOKENS = """
local rate, most, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local held = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(held[1]) or most, tonumber(held[2]) or now
tokens = math.min(most, tokens + math.max(now - at, 0) * rate / 1000)
local taken = math.min(wanted, math.floor(tokens))
local kept_ms = math.ceil(most / rate * 1000) + 1000
redis.call('PEXPIRE', KEYS[1], kept_ms)
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens - taken), 'at', tostring(now))
redis.call('PEXPIRE', KEYS[1], kept_ms)
local wait = 0
if taken == 0 then wait = math.ceil((1 - tokens) * 1000 / rate) end
return {taken, wait}
"""

# KEYS: stream. ARGV: group, milliseconds. Removes consumers that hold nothing and were idle for so long.
FORGET_IDLE = """
local removed = 0
for _, one in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local found = {}
  for place = 1, #one, 2 do found[one[place]] = one[place + 1] end
  if found['pending'] == 0 and found['idle'] > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], found['name'])
    removed = removed + 1
  end
end
return removed
"""

_SHAS = {
    text: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    for text in (ADD, ENSURE_GROUP, FORGET, BURY, REPLAY, TAKE_TOKENS, FORGET_IDLE)
}


async def run_script(client: Any, script: str, keys: Sequence[str], *arguments: Any) -> Any:
    """Return what *script* answers; a server that does not know it yet is told.

    Args:
        client: A client of redis-py, of one server or a cluster.
        script: One of this module.
        keys: Its keys, all of one shard.
        arguments: Its arguments.
    """
    rest = (len(keys), *keys, *arguments)
    async with leaving_replica(client):
        try:
            return await client.execute_command("EVALSHA", _SHAS[script], *rest)
        except NoScriptError:
            return await client.execute_command("EVAL", script, *rest)
