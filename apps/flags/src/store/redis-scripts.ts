/**
 * The Lua scripts, one for each write; they need Redis 6.2.
 * KEYS, the same for all: flags, kills, emergency, revision, revisions, digests, file.
 * `digests` holds the SHA-1 of each text that has a revision: that is how a raw HSET of another tool is noticed.
 */
const common = `
local FLAGS, KILLS, EMERGENCY, REVISION, REVISIONS, DIGESTS, FILE = unpack(KEYS)
local CHANNEL = FLAGS .. ':changes'
local function current() return redis.call('GET', REVISION) or '0' end
local function touched(name)
  return {current(), redis.call('HGET', FLAGS, name), redis.call('HGET', REVISIONS, name) or '0', redis.call('HGET', KILLS, name)}
end
local function raise(names, emergency)
  local revision = string.format('%.0f', redis.call('INCR', REVISION))
  for _, name in ipairs(names) do
    local text = redis.call('HGET', FLAGS, name)
    if text then
      redis.call('HSET', REVISIONS, name, revision)
      redis.call('HSET', DIGESTS, name, redis.sha1hex(text))
    else
      redis.call('HDEL', REVISIONS, name)
      redis.call('HDEL', DIGESTS, name)
    end
  end
  local list = #names == 0 and '[]' or cjson.encode(names)
  redis.call('PUBLISH', CHANNEL, '{"revision":"' .. revision .. '","emergency":' .. tostring(emergency) .. ',"names":' .. list .. '}')
end
`;

/** ARGV: revision known to the caller. Answers reset, revision, flags, revisions, kills, emergency. */
const load = `${common}
local changed, reset = {}, '0'
if tonumber(ARGV[1]) > tonumber(current()) then
  redis.call('SET', REVISION, ARGV[1])
  reset = '1'
end
local flags = redis.call('HGETALL', FLAGS)
local present = {}
for i = 1, #flags, 2 do
  present[flags[i]] = true
  if redis.call('HGET', DIGESTS, flags[i]) ~= redis.sha1hex(flags[i + 1]) then table.insert(changed, flags[i]) end
end
for _, name in ipairs(redis.call('HKEYS', DIGESTS)) do
  if not present[name] then table.insert(changed, name) end
end
if #changed > 0 or reset == '1' then raise(changed, reset == '1') end
return {reset, current(), flags, redis.call('HGETALL', REVISIONS), redis.call('HGETALL', KILLS), redis.call('HGETALL', EMERGENCY)}
`;

/** ARGV: name, text, text that is replaced or '', '1' when there must be one, revision that it must have or '', digest of the file or ''. */
const setFlag = `${common}
local name, text, base, exists, wanted, digest = unpack(ARGV)
if digest ~= '' and redis.call('HGET', FILE, name) == digest then return {'unchanged', touched(name)} end
local old = redis.call('HGET', FLAGS, name)
if (exists == '1') ~= (old ~= false) or (old and old ~= base) then return {'stale'} end
local revision = redis.call('HGET', REVISIONS, name) or '0'
if wanted ~= '' and wanted ~= revision then return {'revision-mismatch', revision} end
if digest ~= '' then redis.call('HSET', FILE, name, digest) end
if old == text then return {'unchanged', touched(name)} end
redis.call('HSET', FLAGS, name, text)
raise({name}, false)
return {'written', touched(name)}
`;

/** ARGV: name, the kill as JSON. */
const killFlag = `${common}
local name, kill = unpack(ARGV)
if redis.call('HEXISTS', FLAGS, name) == 0 then return {'not-found'} end
if redis.call('HSETNX', KILLS, name, kill) == 0 then return {'unchanged', touched(name)} end
raise({name}, false)
return {'written', touched(name)}
`;

/** ARGV: name. */
const reviveFlag = `${common}
local name = ARGV[1]
if redis.call('HDEL', KILLS, name) == 0 then
  if redis.call('HEXISTS', FLAGS, name) == 0 then return {'not-found'} end
  return {'unchanged', touched(name)}
end
raise({name}, false)
return {'written', touched(name)}
`;

/** ARGV: kill switch '1', '0' or '', rollback the same, actor, reason, time, digest of the file or ''. */
const setEmergency = `${common}
local kill, rollback, actor, reason, at, digest = unpack(ARGV)
if digest ~= '' then
  if redis.call('HGET', FILE, 'emergency') == digest then return {'unchanged', current(), redis.call('HGETALL', EMERGENCY)} end
  redis.call('HSET', FILE, 'emergency', digest)
end
local function changes(field, value) return value ~= '' and (redis.call('HGET', EMERGENCY, field) or '0') ~= value end
if not changes('killSwitch', kill) and not changes('rollbackToBaseline', rollback) then return {'unchanged', current(), redis.call('HGETALL', EMERGENCY)} end
if kill ~= '' then redis.call('HSET', EMERGENCY, 'killSwitch', kill) end
if rollback ~= '' then redis.call('HSET', EMERGENCY, 'rollbackToBaseline', rollback) end
redis.call('HSET', EMERGENCY, 'actor', actor, 'reason', reason, 'atMs', at)
raise({}, true)
return {'written', current(), redis.call('HGETALL', EMERGENCY)}
`;

export const scripts = { load, setFlag, killFlag, reviveFlag, setEmergency } as const;
export type ScriptName = keyof typeof scripts;
