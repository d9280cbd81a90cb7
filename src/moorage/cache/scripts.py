"""What is kept in Redis, and the steps that must be atomic there.

    key {moorage}:GENERATION:KIND:…
        (absent)       nothing is known
        T<id>          a ticket: one reader loads, and may fill as long as this stands
        V<bytes>       a value
        M<id> <id>…    marks of writers that are about to commit; nobody fills, nobody reads
    key {moorage}:GENERATION:!open
        Redis time in milliseconds from which values may be filled

All keys carry one hash tag: in a cluster they are in one slot, so scripts may touch several.

`!open` makes a flush harmless. It goes with the marks, and comes back with a delay (SETTLE) that is
longer than a commit takes; so no value is filled while a commit is on its way whose mark was lost.
"""

import hashlib

SLOT = "{moorage}"

# Error codes that mean: this is not the server to talk to, or not with these scripts.
ELSEWHERE = frozenset(
    ("READONLY", "LOADING", "MOVED", "NOSCRIPT", "MASTERDOWN", "NOAUTH", "CLUSTERDOWN", "NOPERM")
)


def opening(name: bytes) -> bytes:
    """The name of `!open` beside a key, or beside the prefix of keys."""
    return name[: name.index(b":", len(SLOT) + 1) + 1] + b"!open"


class Script:
    """Lua text and the name that Redis gives it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


# KEYS: the key, `!open`. ARGV: the ticket, the value, milliseconds to keep it. 1 if it was kept.
FILL = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local opens = redis.call('GET', KEYS[2])
local time = redis.call('TIME')
if not opens or time[1] * 1000 + time[2] / 1000 < tonumber(opens) then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
""")

# KEYS: to mark. ARGV: the writer's id, milliseconds after which a dead writer's marks vanish.
MARK = Script("""
for _, key in ipairs(KEYS) do
  local now = redis.call('GET', key)
  local marks = 'M' .. ARGV[1]
  if now and string.sub(now, 1, 1) == 'M' then marks = now .. ' ' .. ARGV[1] end
  redis.call('SET', key, marks, 'PX', ARGV[2])
end
return #KEYS
""")

# KEYS: to lift. ARGV: the writer's id. Removes one mark of that writer; the marks of others stay.
# A key without marks is deleted whatever it holds: its mark may have been lost, and then a reader
# may have filled it, or hold a ticket to fill it, with what it read before the commit.
LIFT = Script("""
for _, key in ipairs(KEYS) do
  local now = redis.call('GET', key)
  local rest = {}
  if now and string.sub(now, 1, 1) == 'M' then
    local mine = false
    for id in string.gmatch(string.sub(now, 2), '%S+') do
      if id == ARGV[1] and not mine then mine = true else rest[#rest + 1] = id end
    end
  end
  if #rest == 0 then
    redis.call('DEL', key)
  else
    redis.call('SET', key, 'M' .. table.concat(rest, ' '), 'KEEPTTL')
  end
end
return #KEYS
""")

# KEYS: a key. ARGV: what it must hold to be deleted.
FORGET = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")

# KEYS: `!open`. ARGV: milliseconds until fills may begin, if it is not there. Tells what it holds.
# Without a beat for a week it goes, and with it the last trace of an old generation.
BEAT = Script("""
local opens = redis.call('GET', KEYS[1])
if opens then
  redis.call('PEXPIRE', KEYS[1], 604800000)
  return opens
end
local time = redis.call('TIME')
opens = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1])
redis.call('SET', KEYS[1], opens, 'PX', 604800000)
return opens
""")

ALL = (FILL, MARK, LIFT, FORGET, BEAT)
