import { sha256Lua } from './sha256-lua.ts';

/** What follows the key of the flags in every other key, in the order of KEYS. The flags' own key comes first. */
export const KEY_PARTS = ['kills', 'emergency', 'revision', 'revisions', 'texts', 'digests', 'file', 'shown', 'audit', 'audit-head', 'epoch', 'former-epochs', 'record-digests', 'audit-base'] as const;

/** Hashes of records beside the flags, `<flags>:<kind>`. */
export const RECORD_KINDS = ['segments', 'tokens', 'pending', 'rollouts', 'api-keys'] as const;

/**
 * What every Lua script begins with; they need Redis 6.2. Each compares, writes, raises the revision, appends to the audit
 * trail and publishes in one step.
 * `texts` holds the text of each flag that has a revision, `digests` its SHA-256 and, as `kind:id`, that of what was last
 * shown of a record: that is how a raw HSET of another tool is noticed, and what it changed. Every script begins its ARGV
 * with actor, reason, time, action, the epoch that the caller knows, and a deadline by Redis's own clock: a store that was
 * emptied or replaced meanwhile is not written to, and what its caller was told to be refused is not carried out when a
 * Redis that hung goes on. One that is too late answers `late` and Redis's time: the clocks may have moved apart.
 */
export const common = `${sha256Lua}
local FLAGS, KILLS, EMERGENCY, REVISION, REVISIONS, TEXTS, DIGESTS, FILE, SHOWN, AUDIT, HEAD, EPOCH, FORMER, RECORD_DIGESTS, AUDIT_BASE = unpack(KEYS)
local ACTOR, REASON, AT, ACTION = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local CHANNEL = FLAGS .. ':changes'
if ARGV[5] ~= '' and redis.call('GET', EPOCH) ~= ARGV[5] and redis.call('SISMEMBER', FORMER, ARGV[5]) == 0 then return {'lost'} end
local clock = redis.call('TIME')
local NOW = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
if ARGV[6] ~= '' and NOW > tonumber(ARGV[6]) then return {'late', string.format('%.0f', NOW)} end
local function current() return redis.call('GET', REVISION) or '0' end
local function touched(name)
  return {current(), redis.call('HGET', FLAGS, name), redis.call('HGET', REVISIONS, name) or '0', redis.call('HGET', KILLS, name)}
end
local function emergencyText()
  local fields, map = redis.call('HGETALL', EMERGENCY), {}
  if #fields == 0 then return nil end
  for i = 1, #fields, 2 do map[fields[i]] = fields[i + 1] end
  return '{"killSwitch":' .. tostring(map.killSwitch == '1') .. ',"rollbackToBaseline":' .. tostring(map.rollbackToBaseline == '1') .. ',"actor":' .. cjson.encode(map.actor or '') .. ',"reason":' .. cjson.encode(map.reason or '') .. ',"atMs":' .. (map.atMs or '0') .. '}'
end
local function nextRevision() return string.format('%.0f', redis.call('INCR', REVISION)) end
local function quoted(value) return value and cjson.encode(value) or 'null' end
local places, lastHash = {}, nil
-- An entry that the caller expected, and its hash.
local FORESEEN, FORESEEN_HASH
local function audit(revision, actor, reason, action, flag, before, after, beforeDigest, afterDigest)
  local count, previous = unpack(redis.call('HMGET', HEAD, 'count', 'hash'))
  if before and not beforeDigest then beforeDigest = sha256(before) end
  if after and not afterDigest then afterDigest = sha256(after) end
  local entry = '{"revision":' .. revision .. ',"at":' .. AT .. ',"actor":' .. cjson.encode(actor) .. ',"reason":' .. cjson.encode(reason) .. ',"action":"' .. action .. '","flag":' .. cjson.encode(flag) .. ',"before":' .. quoted(beforeDigest) .. ',"after":' .. quoted(afterDigest) .. ',"previousHash":"' .. (previous or '') .. '"}'
  local hash = entry == FORESEEN and FORESEEN_HASH or sha256(entry)
  lastHash = hash
  places[revision] = (places[revision] or 0) + 1
  local fields = {'entry', entry, 'hash', hash}
  if before then table.insert(fields, 'before') table.insert(fields, before) end
  if after then table.insert(fields, 'after') table.insert(fields, after) end
  redis.call('XADD', AUDIT, revision .. '-' .. places[revision], unpack(fields))
  redis.call('HSET', HEAD, 'count', tonumber(count or '0') + 1, 'hash', hash)
end
local function written(name) return {'written', touched(name), lastHash} end
local function publish(revision, names, emergency, records)
  local list = #names == 0 and '[]' or cjson.encode(names)
  redis.call('PUBLISH', CHANNEL, '{"revision":"' .. revision .. '","emergency":' .. tostring(emergency) .. ',"records":' .. tostring(records) .. ',"names":' .. list .. '}')
end
local function adopt(name, revision, digest)
  local text = redis.call('HGET', FLAGS, name)
  if text then
    redis.call('HSET', REVISIONS, name, revision)
    redis.call('HSET', TEXTS, name, text)
    redis.call('HSET', DIGESTS, name, digest)
  else
    redis.call('HDEL', REVISIONS, name)
    redis.call('HDEL', TEXTS, name)
    redis.call('HDEL', DIGESTS, name)
  end
end
-- A record that a write depends on: nothing is written unless it still holds the text that the caller read.
local function stillHolds(kind, id, text) return kind == '' or redis.call('HGET', FLAGS .. ':' .. kind, id) == text end
-- One that the write settles goes with it.
local function removeRecord(kind, id)
  local field = kind .. ':' .. id
  redis.call('HDEL', FLAGS .. ':' .. kind, id)
  for _, beside in ipairs({RECORD_DIGESTS, SHOWN, DIGESTS}) do redis.call('HDEL', beside, field) end
end
-- What another tool did to a flag since it last got a revision. The digest is that of its text now.
local function auditExternal(revision, name, digest)
  local before, after = redis.call('HGET', TEXTS, name), redis.call('HGET', FLAGS, name)
  if before == after then return end
  local beforeDigest = redis.call('HGET', DIGESTS, name) or nil
  adopt(name, revision, digest)
  audit(revision, 'external', 'written by another tool', 'external', name, before or nil, after or nil, beforeDigest, after and digest or nil)
end
`;
