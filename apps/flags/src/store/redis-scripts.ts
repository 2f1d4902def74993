import { adoptFlags } from './load-scripts.ts';
import { common } from './script-common.ts';

/**
 * ARGV, after the six: name, text, its SHA-256, text that is replaced or '' and its SHA-256, '1' when there must be one, revision
 * that it must have or '', digest of the file or ''; then the record on which the write depends: kind or '' for none, id, text,
 * '1' when the write settles it.
 */
const setFlag = `${common}
local name, text, textDigest, base, baseDigest, exists, wanted, digest, kind, id, record, settles = unpack(ARGV, 7)
if not stillHolds(kind, id, record) then return {'superseded'} end
if digest ~= '' and redis.call('HGET', FILE, name) == digest then return {'unchanged', touched(name)} end
local old = redis.call('HGET', FLAGS, name)
if (exists == '1') ~= (old ~= false) or (old and old ~= base) then return {'stale'} end
local revision = redis.call('HGET', REVISIONS, name) or '0'
if wanted ~= '' and wanted ~= revision then return {'revision-mismatch', revision} end
if digest ~= '' then redis.call('HSET', FILE, name, digest) end
if old == text and settles ~= '1' then return {'unchanged', touched(name)} end
local now = nextRevision()
auditExternal(now, name, baseDigest)
local oldDigest = redis.call('HGET', DIGESTS, name) or nil
redis.call('HSET', FLAGS, name, text)
adopt(name, now, textDigest)
audit(now, ACTOR, REASON, ACTION, name, old or nil, text, oldDigest, textDigest)
if settles == '1' then removeRecord(kind, id) end
publish(now, {name}, false, settles == '1')
return written(name)
`;

/** ARGV, after the six: name, text that is deleted and its SHA-256, revision that it must have or ''; a record as in `setFlag`. */
const deleteFlag = `${common}
local name, base, baseDigest, wanted, kind, id, record, settles = unpack(ARGV, 7)
if not stillHolds(kind, id, record) then return {'superseded'} end
local old = redis.call('HGET', FLAGS, name)
if not old then return {'not-found'} end
if old ~= base then return {'stale'} end
local revision = redis.call('HGET', REVISIONS, name) or '0'
if wanted ~= '' and wanted ~= revision then return {'revision-mismatch', revision} end
local now = nextRevision()
auditExternal(now, name, baseDigest)
local oldDigest = redis.call('HGET', DIGESTS, name) or nil
redis.call('HDEL', FLAGS, name)
adopt(name, now)
audit(now, ACTOR, REASON, ACTION, name, old, nil, oldDigest)
if settles == '1' then removeRecord(kind, id) end
publish(now, {name}, false, settles == '1')
return written(name)
`;

/** ARGV, after the six: name, the kill as JSON, its SHA-256, '1' to kill also what is not there, the entry foreseen and its SHA-256 or '' twice. */
const killFlag = `${common}
local name, kill, digest, always, foreseen, foreseenHash = unpack(ARGV, 7)
FORESEEN, FORESEEN_HASH = foreseen, foreseenHash
if always ~= '1' and redis.call('HEXISTS', FLAGS, name) == 0 then return {'not-found'} end
if redis.call('HSETNX', KILLS, name, kill) == 0 then return {'unchanged', touched(name)} end
local now = nextRevision()
if redis.call('HEXISTS', FLAGS, name) == 1 then redis.call('HSET', REVISIONS, name, now) end
audit(now, ACTOR, REASON, ACTION, name, nil, kill, nil, digest)
publish(now, {name}, false, false)
return written(name)
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
if redis.call('HEXISTS', FLAGS, name) == 1 then redis.call('HSET', REVISIONS, name, now) end
audit(now, ACTOR, REASON, ACTION, name, kill, nil)
publish(now, {name}, false, false)
return written(name)
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
 * '1' when it is of no interest to the audit trail, text for the trail, its SHA-256, digest of the file or ''; a record on
 * which the write depends, as in `setFlag`.
 * `shown` holds what the trail last said of each record: a token's trail never holds its hash.
 */
const putRecord = `${common}
local kind, id, text, base, quiet, shown, shownDigest, digest, otherKind, otherId, other, settles = unpack(ARGV, 7)
local key = FLAGS .. ':' .. kind
if not stillHolds(otherKind, otherId, other) then return {'stale', current()} end
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
local field = kind .. ':' .. id
audit(now, ACTOR, REASON, ACTION, id, redis.call('HGET', SHOWN, field) or nil, shown ~= '' and shown or nil, redis.call('HGET', DIGESTS, field) or nil, shown ~= '' and shownDigest or nil)
if shown ~= '' then
  redis.call('HSET', SHOWN, field, shown)
  redis.call('HSET', DIGESTS, field, shownDigest)
else
  redis.call('HDEL', SHOWN, field)
  redis.call('HDEL', DIGESTS, field)
end
if settles == '1' then removeRecord(otherKind, otherId) end
publish(now, {}, false, true)
return {'written', now}
`;

/**
 * ARGV, after the six: epoch known to the caller, the new epoch, revision known to the caller, text for the trail; then names and
 * digests of what was applied from the file, if that is known.
 */
const settle = `${common}
local former, epoch, known, summary = unpack(ARGV, 7)
local present = redis.call('GET', EPOCH)
if present then redis.call('SADD', FORMER, present) end
redis.call('SADD', FORMER, former)
redis.call('SET', EPOCH, epoch)
if #ARGV > 10 then redis.call('DEL', FILE) end
for i = 11, #ARGV, 2 do redis.call('HSET', FILE, ARGV[i], ARGV[i + 1]) end
if tonumber(known) > tonumber(current()) then redis.call('SET', REVISION, known) end
local now = nextRevision()
audit(now, ACTOR, REASON, ACTION, '', nil, summary)
publish(now, {}, true, true)
return {now}
`;

/**
 * Takes entries that are in an archive off the trail. ARGV, after the six: how many entries went before, how many go now in
 * all, the hash of the last of them, its revision and time, the flags after it, text for the trail and its SHA-256.
 */
const trimAudit = `${common}
local former, count, hash, revision, atMs, state, summary, digest = unpack(ARGV, 7)
if (redis.call('HGET', AUDIT_BASE, 'count') or '0') ~= former then return {'stale'} end
redis.call('XTRIM', AUDIT, 'MINID', string.format('%.0f', tonumber(revision) + 1) .. '-0')
redis.call('HSET', AUDIT_BASE, 'count', count, 'hash', hash, 'revision', revision, 'atMs', atMs, 'state', state)
local now = nextRevision()
audit(now, ACTOR, REASON, ACTION, '', nil, summary, nil, digest)
publish(now, {}, false, false)
return {'written', now}
`;

/** ARGV, after the six: revision below which the store's must not be. */
const raiseRevision = `${common}
if tonumber(ARGV[7]) > tonumber(current()) then redis.call('SET', REVISION, ARGV[7]) end
return {current()}
`;

export const scripts = { adoptFlags, setFlag, deleteFlag, killFlag, reviveFlag, setEmergency, putRecord, settle, trimAudit, raiseRevision } as const;
export type ScriptName = keyof typeof scripts;
