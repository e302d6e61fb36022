"""What a Redis server does in one step: a Lua script, on the hash of one user and campaign.

The fields of the hash: ``record`` has the record as JSON, ``goals`` the identifiers of goals marked since it
was written, joined as in a record, and ``goal:`` before an identifier whose claim that goal is. ``gone:``
before that has the last owners who took their claim of it back, so that a claim of theirs which arrives
after that, from a connection that was slow or is closed by now, is not made any more. The script knows
nothing of the JSON, so that nothing in it is lost on the way through Lua.
"""

from __future__ import annotations

import hashlib

# All in one, so that a server knows either all of it or nothing: requests that it does not know are asked
# again together, and keep their order. The first argument says what is to be done, the second after how many
# milliseconds the key expires, 0 for never: no field is written without it.
SCRIPT = """
local function read_goals() return redis.call('HGET', KEYS[1], 'goals') or '' end
local function wrap(text) return '_vwo_' .. text .. '_vwo_' end
local function find(goals, goal) return string.find(wrap(goals), wrap(goal), 1, true) end
local function add(goals, more)
  local at = 1
  while at <= #more do
    local first, last = string.find(more, '_vwo_', at, true)
    local goal = string.sub(more, at, first and first - 1 or -1)
    at = last and last + 1 or #more + 1
    if goal ~= '' and not find(goals, goal) then
      goals = goals == '' and goal or goals .. '_vwo_' .. goal
    end
  end
  return goals
end

-- The owners who took back a claim, each between two spaces, the last first.
local function read_gone(claim) return redis.call('HGET', KEYS[1], 'gone:' .. claim) or ' ' end
local function add_gone(claim, owner)
  local is_new = redis.call('EXISTS', KEYS[1]) == 0
  redis.call('HSET', KEYS[1], 'gone:' .. claim, string.sub(' ' .. owner .. read_gone(claim), 1, 500))
  if is_new and ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
end

-- A command on the key: its name, then its arguments.
local function write() return redis.call(ARGV[3], KEYS[1], unpack(ARGV, 4)) end

-- Record, its goals, and the variation of the record that may make room, empty for none.
local function assign()
  local old = redis.call('HGET', KEYS[1], 'record')
  if old then
    if ARGV[5] == '' then return 0 end
    local is_json, row = pcall(cjson.decode, old)
    if is_json and type(row) == 'table' and row.variationName ~= ARGV[5] then return 0 end
    for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
      if string.sub(name, 1, 5) ~= 'gone:' then redis.call('HDEL', KEYS[1], name) end
    end
  end
  redis.call('HSET', KEYS[1], 'record', ARGV[3], 'goals', ARGV[4])
  return 1
end

-- Field of the claim or nothing, owner, goal, record or nothing, all its goals, whether it is new.
local function count()
  local goals = read_goals()
  if ARGV[3] ~= '' then
    if string.find(read_gone(ARGV[3]), ' ' .. ARGV[4] .. ' ', 1, true) then return 0 end
    local owner = redis.call('HGET', KEYS[1], ARGV[3])
    if owner ~= ARGV[4] and (owner or find(goals, ARGV[5])) then return 0 end
    redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
  end
  local is_there = redis.call('HEXISTS', KEYS[1], 'record') == 1
  local more = ARGV[5]
  if ARGV[6] ~= '' and (ARGV[8] == '1' or not is_there) then
    redis.call('HSET', KEYS[1], 'record', ARGV[6])
    is_there, more = true, ARGV[7]
  end
  if is_there then redis.call('HSET', KEYS[1], 'goals', add(goals, more)) end
  return 1
end

-- Field of the claim, owner or nothing, goal.
local function withdraw()
  local owner = redis.call('HGET', KEYS[1], ARGV[3])
  local is_mine = owner == ARGV[4] or (ARGV[4] == '' and (not owner or owner == '1'))
  -- First: a server without memory to spare refuses a script that begins with what takes some.
  if is_mine then redis.call('HDEL', KEYS[1], ARGV[3]) end
  if ARGV[4] ~= '' then add_gone(ARGV[3], ARGV[4]) end
  if not is_mine then return 0 end
  local goals = wrap(read_goals())
  local first, last = string.find(goals, wrap(ARGV[5]), 1, true)
  if first then
    goals = string.sub(goals, 1, first - 1) .. '_vwo_' .. string.sub(goals, last + 1)
    redis.call('HSET', KEYS[1], 'goals', string.sub(goals, 6, -6))
  end
  return 1
end

if ARGV[1] == 'withdraw' then return withdraw() end
local answer
if ARGV[1] == 'count' then answer = count()
elseif ARGV[1] == 'assign' then answer = assign()
else answer = write() end
if ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return answer
"""
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
