import { externalRecordsLua } from './external-records-lua.ts';
import { common, RECORD_KINDS } from './script-common.ts';

const kinds = `{${RECORD_KINDS.map((kind) => `'${kind}'`).join(',')}}`;

/**
 * Whether the trail holds another last entry of a revision than is known: the store was put back to an older state, and
 * written to since. Where that revision has no entry, nothing is said: who edits a trail is found by its chain.
 */
const otherTrailLua = `
local function isOtherTrail(revision, hash)
  local last = hash ~= '' and redis.call('XREVRANGE', AUDIT, revision, revision, 'COUNT', 1)[1]
  if not last then return false end
  for i = 1, #last[2], 2 do
    if last[2][i] == 'hash' then return last[2][i + 1] ~= hash end
  end
  return false
end
`;

/**
 * Goes before a read of everything, in one transaction with it. The texts of the flags never come into Lua: it hashes only
 * every few characters of a long text, so that thousands of similar ones would hold Redis up for seconds.
 * ARGV, after the six: revision known to the caller, epoch known to the caller or '', revision and hash at which the trail is
 * known to have ended, an epoch for a new store.
 * Answers lost, revision, epoch, emergency, audit head, the time by Redis's clock in milliseconds, one list for each kind of record.
 */
export const load = `${common}
${externalRecordsLua}
${otherTrailLua}
local known, epoch, trailRevision, trailHash, newEpoch = unpack(ARGV, 7)
local present = redis.call('GET', EPOCH)
local lost = '0'
if epoch ~= '' and present ~= epoch then
  if present and redis.call('SISMEMBER', FORMER, epoch) == 1 then
    if tonumber(known) > tonumber(current()) then redis.call('SET', REVISION, known) end
  else lost = '1' end
elseif epoch ~= '' and (tonumber(known) > tonumber(current()) or isOtherTrail(trailRevision, trailHash)) then lost = '1' end
if lost == '0' then
  if not present then
    present = newEpoch
    redis.call('SET', EPOCH, present)
    if tonumber(known) > tonumber(current()) then redis.call('SET', REVISION, known) end
  end
  adoptRecords(${kinds})
end
local answer = {lost, current(), present or '', redis.call('HGETALL', EMERGENCY), redis.call('HMGET', HEAD, 'count', 'hash'), string.format('%.0f', NOW)}
for _, kind in ipairs(${kinds}) do table.insert(answer, redis.call('HGETALL', FLAGS .. ':' .. kind)) end
return answer
`;

/**
 * ARGV, after the six: revision known to the caller, epoch known to the caller, revision and hash at which the trail is known to
 * have ended.
 * Answers '1' with the audit head when the store is as it is known and no other tool has changed a record since, else '0';
 * and the time by Redis's clock.
 */
export const check = `${common}
${externalRecordsLua}
${otherTrailLua}
local known, epoch, trailRevision, trailHash = unpack(ARGV, 7)
if redis.call('GET', EPOCH) ~= epoch or current() ~= known or isOtherTrail(trailRevision, trailHash) or #changedRecords(${kinds}) > 0 then return {'0', {}, string.format('%.0f', NOW)} end
return {'1', redis.call('HMGET', HEAD, 'count', 'hash'), string.format('%.0f', NOW)}
`;

/**
 * Gives what another tool did to flags a revision and entries in the audit trail. Digests, entries and hashes are the
 * caller's: a thousand of them would hold Redis up for seconds. ARGV, after the six: the revision and the hash of the audit
 * trail on which they are built, then eight values for each flag: name, '1' when it is there, its text, its SHA-256, '1' when
 * there was one before, the text then, the entry and its hash.
 */
export const adoptFlags = `${common}
if current() ~= ARGV[7] or (redis.call('HGET', HEAD, 'hash') or '') ~= ARGV[8] then return {'stale'} end
for i = 9, #ARGV, 8 do
  local text, before = redis.call('HGET', FLAGS, ARGV[i]), redis.call('HGET', TEXTS, ARGV[i])
  if text ~= (ARGV[i + 1] == '1' and ARGV[i + 2]) or before ~= (ARGV[i + 4] == '1' and ARGV[i + 5]) then return {'stale'} end
end
local now, names, count = nextRevision(), {}, tonumber(redis.call('HGET', HEAD, 'count') or '0')
for i = 9, #ARGV, 8 do
  table.insert(names, ARGV[i])
  adopt(ARGV[i], now, ARGV[i + 3])
  local fields = {'entry', ARGV[i + 6], 'hash', ARGV[i + 7]}
  if ARGV[i + 4] == '1' then table.insert(fields, 'before') table.insert(fields, ARGV[i + 5]) end
  if ARGV[i + 1] == '1' then table.insert(fields, 'after') table.insert(fields, ARGV[i + 2]) end
  redis.call('XADD', AUDIT, now .. '-' .. #names, unpack(fields))
end
redis.call('HSET', HEAD, 'count', count + #names, 'hash', ARGV[#ARGV])
publish(now, names, false, false)
return {'written', now}
`;
