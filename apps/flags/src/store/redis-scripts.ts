import { externalRecordsLua } from './external-records-lua.ts';
import { sha256Lua } from './sha256-lua.ts';

/** What follows the key of the flags in every other key, in the order of KEYS. The flags' own key comes first. */
export const KEY_PARTS = ['kills', 'emergency', 'revision', 'revisions', 'texts', 'digests', 'file', 'shown', 'audit', 'audit-head', 'epoch', 'former-epochs', 'record-digests'] as const;

/** Hashes of records beside the flags, `<flags>:<kind>`. */
export const RECORD_KINDS = ['segments', 'tokens', 'pending', 'rollouts', 'api-keys'] as const;

/**
 * The Lua scripts, one for each write; they need Redis 6.2. Each compares, writes, raises the revision, appends to the
 * audit trail and publishes in one step.
 * `texts` holds the text of each flag that has a revision, `digests` its SHA-256: that is how a raw HSET of another tool
 * is noticed, and what it changed. Every script begins its ARGV with actor, reason, time, action, the epoch that the
 * caller knows, and a deadline by Redis's own clock: a store that was emptied or replaced meanwhile is not written to,
 * and what its caller was told to be refused is not carried out when a Redis that hung goes on.
 */
const common = `${sha256Lua}
local FLAGS, KILLS, EMERGENCY, REVISION, REVISIONS, TEXTS, DIGESTS, FILE, SHOWN, AUDIT, HEAD, EPOCH, FORMER, RECORD_DIGESTS = unpack(KEYS)
local ACTOR, REASON, AT, ACTION = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local CHANNEL = FLAGS .. ':changes'
if ARGV[5] ~= '' and redis.call('GET', EPOCH) ~= ARGV[5] and redis.call('SISMEMBER', FORMER, ARGV[5]) == 0 then return {'lost'} end
local clock = redis.call('TIME')
local NOW = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
if ARGV[6] ~= '' and NOW > tonumber(ARGV[6]) then return {'late'} end
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
local places = {}
local function audit(revision, actor, reason, action, flag, before, after, beforeDigest, afterDigest)
  local count, previous = unpack(redis.call('HMGET', HEAD, 'count', 'hash'))
  if before and not beforeDigest then beforeDigest = sha256(before) end
  if after and not afterDigest then afterDigest = sha256(after) end
  local entry = '{"revision":' .. revision .. ',"at":' .. AT .. ',"actor":' .. cjson.encode(actor) .. ',"reason":' .. cjson.encode(reason) .. ',"action":"' .. action .. '","flag":' .. cjson.encode(flag) .. ',"before":' .. quoted(beforeDigest) .. ',"after":' .. quoted(afterDigest) .. ',"previousHash":"' .. (previous or '') .. '"}'
  local hash = sha256(entry)
  places[revision] = (places[revision] or 0) + 1
  local fields = {'entry', entry, 'hash', hash}
  if before then table.insert(fields, 'before') table.insert(fields, before) end
  if after then table.insert(fields, 'after') table.insert(fields, after) end
  redis.call('XADD', AUDIT, revision .. '-' .. places[revision], unpack(fields))
  redis.call('HSET', HEAD, 'count', tonumber(count or '0') + 1, 'hash', hash)
end
local function publish(revision, names, emergency, records)
  local list = #names == 0 and '[]' or cjson.encode(names)
  redis.call('PUBLISH', CHANNEL, '{"revision":"' .. revision .. '","emergency":' .. tostring(emergency) .. ',"records":' .. tostring(records) .. ',"names":' .. list .. '}')
end
local function adopt(name, revision, digest)
  local text = redis.call('HGET', FLAGS, name)
  if text then
    redis.call('HSET', REVISIONS, name, revision)
    redis.call('HSET', TEXTS, name, text)
    redis.call('HSET', DIGESTS, name, digest or sha256(text))
  else
    redis.call('HDEL', REVISIONS, name)
    redis.call('HDEL', TEXTS, name)
    redis.call('HDEL', DIGESTS, name)
  end
end
-- What another tool did to a flag since it last got a revision.
local function auditExternal(revision, name)
  local before, after = redis.call('HGET', TEXTS, name), redis.call('HGET', FLAGS, name)
  if before == after then return false end
  local beforeDigest = redis.call('HGET', DIGESTS, name) or nil
  adopt(name, revision)
  audit(revision, 'external', 'written by another tool', 'external', name, before or nil, after or nil, beforeDigest, redis.call('HGET', DIGESTS, name) or nil)
  return true
end
`;

/**
 * ARGV, after the six: revision known to the caller, epoch known to the caller or '', an epoch for a new store.
 * Answers lost, revision, epoch, flags, revisions, kills, emergency, audit head, the time by Redis's clock in milliseconds, and one list for each kind of record.
 */
const load = `${common}
${externalRecordsLua}
local known, epoch = ARGV[7], ARGV[8]
local present = redis.call('GET', EPOCH)
local lost = '0'
if epoch ~= '' and present ~= epoch then
  if present and redis.call('SISMEMBER', FORMER, epoch) == 1 then
    if tonumber(known) > tonumber(current()) then redis.call('SET', REVISION, known) end
  else lost = '1' end
elseif epoch ~= '' and tonumber(known) > tonumber(current()) then lost = '1' end
local flags = redis.call('HGETALL', FLAGS)
if lost == '0' then
  if not present then
    present = ARGV[9]
    redis.call('SET', EPOCH, present)
    if tonumber(known) > tonumber(current()) then redis.call('SET', REVISION, known) end
  end
  local changed, seen = {}, {}
  for i = 1, #flags, 2 do
    seen[flags[i]] = true
    if redis.call('HGET', TEXTS, flags[i]) ~= flags[i + 1] then table.insert(changed, flags[i]) end
  end
  for _, name in ipairs(redis.call('HKEYS', TEXTS)) do
    if not seen[name] then table.insert(changed, name) end
  end
  if #changed > 0 then
    local revision = nextRevision()
    for _, name in ipairs(changed) do auditExternal(revision, name) end
    publish(revision, changed, false, false)
  end
  adoptRecords({${RECORD_KINDS.map((kind) => `'${kind}'`).join(',')}})
end
local answer = {lost, current(), present or '', flags, redis.call('HGETALL', REVISIONS), redis.call('HGETALL', KILLS), redis.call('HGETALL', EMERGENCY), redis.call('HMGET', HEAD, 'count', 'hash'), string.format('%.0f', NOW)}
for _, kind in ipairs({${RECORD_KINDS.map((kind) => `'${kind}'`).join(',')}}) do table.insert(answer, redis.call('HGETALL', FLAGS .. ':' .. kind)) end
return answer
`;

/** ARGV, after the six: name, text, its SHA-256, text that is replaced or '', '1' when there must be one, revision that it must have or '', digest of the file or ''. */
const setFlag = `${common}
local name, text, textDigest, base, exists, wanted, digest = unpack(ARGV, 7)
if digest ~= '' and redis.call('HGET', FILE, name) == digest then return {'unchanged', touched(name)} end
local old = redis.call('HGET', FLAGS, name)
if (exists == '1') ~= (old ~= false) or (old and old ~= base) then return {'stale'} end
local revision = redis.call('HGET', REVISIONS, name) or '0'
if wanted ~= '' and wanted ~= revision then return {'revision-mismatch', revision} end
if digest ~= '' then redis.call('HSET', FILE, name, digest) end
if old == text then return {'unchanged', touched(name)} end
local now = nextRevision()
auditExternal(now, name)
local oldDigest = redis.call('HGET', DIGESTS, name) or nil
redis.call('HSET', FLAGS, name, text)
adopt(name, now, textDigest)
audit(now, ACTOR, REASON, ACTION, name, old or nil, text, oldDigest, textDigest)
publish(now, {name}, false, false)
return {'written', touched(name)}
`;

/** ARGV, after the six: name, text that is deleted, revision that it must have or ''. */
const deleteFlag = `${common}
local name, base, wanted = unpack(ARGV, 7)
local old = redis.call('HGET', FLAGS, name)
if not old then return {'not-found'} end
if old ~= base then return {'stale'} end
local revision = redis.call('HGET', REVISIONS, name) or '0'
if wanted ~= '' and wanted ~= revision then return {'revision-mismatch', revision} end
local now = nextRevision()
auditExternal(now, name)
local oldDigest = redis.call('HGET', DIGESTS, name) or nil
redis.call('HDEL', FLAGS, name)
adopt(name, now)
audit(now, ACTOR, REASON, ACTION, name, old, nil, oldDigest)
publish(now, {name}, false, false)
return {'written', touched(name)}
`;

/** ARGV, after the six: name, the kill as JSON, '1' to kill also what is not there. */
const killFlag = `${common}
local name, kill, always = unpack(ARGV, 7)
if always ~= '1' and redis.call('HEXISTS', FLAGS, name) == 0 then return {'not-found'} end
if redis.call('HSETNX', KILLS, name, kill) == 0 then return {'unchanged', touched(name)} end
local now = nextRevision()
if not auditExternal(now, name) and redis.call('HEXISTS', FLAGS, name) == 1 then redis.call('HSET', REVISIONS, name, now) end
audit(now, ACTOR, REASON, ACTION, name, nil, kill)
publish(now, {name}, false, false)
return {'written', touched(name)}
`;

/** ARGV, after the six: name. */
const reviveFlag = `${common}
local name = ARGV[7]
local kill = redis.call('HGET', KILLS, name)
if not kill then
  if redis.call('HEXISTS', FLAGS, name) == 0 then return {'not-found'} end
  return {'unchanged', touched(name)}
end
redis.call('HDEL', KILLS, name)
local now = nextRevision()
if not auditExternal(now, name) and redis.call('HEXISTS', FLAGS, name) == 1 then redis.call('HSET', REVISIONS, name, now) end
audit(now, ACTOR, REASON, ACTION, name, kill, nil)
publish(now, {name}, false, false)
return {'written', touched(name)}
`;

/** ARGV, after the six: kill switch '1', '0' or '', rollback the same, digest of the file or ''. */
const setEmergency = `${common}
local kill, rollback, digest = unpack(ARGV, 7)
if digest ~= '' then
  if redis.call('HGET', FILE, 'emergency') == digest then return {'unchanged', current(), redis.call('HGETALL', EMERGENCY)} end
  redis.call('HSET', FILE, 'emergency', digest)
end
local function changes(field, value) return value ~= '' and (redis.call('HGET', EMERGENCY, field) or '0') ~= value end
if not changes('killSwitch', kill) and not changes('rollbackToBaseline', rollback) then return {'unchanged', current(), redis.call('HGETALL', EMERGENCY)} end
local before = emergencyText()
if kill ~= '' then redis.call('HSET', EMERGENCY, 'killSwitch', kill) end
if rollback ~= '' then redis.call('HSET', EMERGENCY, 'rollbackToBaseline', rollback) end
redis.call('HSET', EMERGENCY, 'actor', ACTOR, 'reason', REASON, 'atMs', AT)
local now = nextRevision()
audit(now, ACTOR, REASON, ACTION, '', before, emergencyText())
publish(now, {}, true, false)
return {'written', current(), redis.call('HGETALL', EMERGENCY)}
`;

/**
 * ARGV, after the six: kind, id, text or '' to remove, text that is replaced, '' for none or '*' for any,
 * '1' when it is of no interest to the audit trail, text for the trail, its SHA-256, digest of the file or ''.
 * `shown` holds what the trail last said of each record: a token's trail never holds its hash.
 */
const putRecord = `${common}
local kind, id, text, base, quiet, shown, shownDigest, digest = unpack(ARGV, 7)
local key = FLAGS .. ':' .. kind
if digest ~= '' then
  if redis.call('HGET', FILE, kind .. ':' .. id) == digest then return {'unchanged', current()} end
  redis.call('HSET', FILE, kind .. ':' .. id, digest)
end
local old = redis.call('HGET', key, id)
if base ~= '*' and (old or '') ~= base then return {'stale', current()} end
if (old or '') == text then return {'unchanged', current()} end
local function put()
  if text == '' then
    redis.call('HDEL', key, id)
    redis.call('HDEL', RECORD_DIGESTS, kind .. ':' .. id)
  else
    redis.call('HSET', key, id, text)
    redis.call('HSET', RECORD_DIGESTS, kind .. ':' .. id, redis.sha1hex(text))
  end
end
if quiet == '1' then
  put()
  return {'written', current()}
end
local now = nextRevision()
if kind == 'segments' and text ~= '' then
  text = '{"revision":' .. now .. ',"definition":' .. cjson.encode(text) .. '}'
end
put()
local last = redis.call('HGET', SHOWN, kind .. ':' .. id)
audit(now, ACTOR, REASON, ACTION, id, last or nil, shown ~= '' and shown or nil, nil, shown ~= '' and shownDigest or nil)
if shown ~= '' then redis.call('HSET', SHOWN, kind .. ':' .. id, shown) else redis.call('HDEL', SHOWN, kind .. ':' .. id) end
publish(now, {}, false, true)
return {'written', now}
`;

/** ARGV, after the six: epoch known to the caller, the new epoch, revision known to the caller, text for the trail. */
const settle = `${common}
local former, epoch, known, summary = unpack(ARGV, 7)
local present = redis.call('GET', EPOCH)
if present then redis.call('SADD', FORMER, present) end
redis.call('SADD', FORMER, former)
redis.call('SET', EPOCH, epoch)
if tonumber(known) > tonumber(current()) then redis.call('SET', REVISION, known) end
local now = nextRevision()
audit(now, ACTOR, REASON, ACTION, '', nil, summary)
publish(now, {}, true, true)
return {now}
`;

/** ARGV, after the six: revision below which the store's must not be. */
const raiseRevision = `${common}
if tonumber(ARGV[7]) > tonumber(current()) then redis.call('SET', REVISION, ARGV[7]) end
return {current()}
`;

export const scripts = { load, setFlag, deleteFlag, killFlag, reviveFlag, setEmergency, putRecord, settle, raiseRevision } as const;
export type ScriptName = keyof typeof scripts;
