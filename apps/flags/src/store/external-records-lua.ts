/** Most records that one read takes over, as their digests are made in Lua; the next read takes more. */
const MOST_RECORDS = 20;

/**
 * What another tool did to segments, tokens, API keys, pending changes and rollouts: noticed by a digest of what was last written
 * here, and entered in the audit trail as `<kind>.external`. A segment that was written as its bare definition is taken
 * over too. Nothing that the trail is told of a token or a key holds its hash.
 */
export const externalRecordsLua = `
local function shownOf(kind, text)
  local readable, value = pcall(cjson.decode, text)
  if not readable or type(value) ~= 'table' then return text end
  if kind == 'segments' and type(value.definition) == 'string' then return value.definition end
  if value.hash or value.secretHash then
    value.hash, value.secretHash = nil, nil
    return cjson.encode(value)
  end
  return text
end
local function adoptRecord(kind, id, text, revision)
  local field = kind .. ':' .. id
  local shown = text and shownOf(kind, text) or nil
  if kind == 'segments' and text then
    text = '{"revision":' .. revision .. ',"definition":' .. cjson.encode(shown) .. '}'
    redis.call('HSET', FLAGS .. ':segments', id, text)
  end
  audit(revision, 'external', 'written by another tool', kind .. '.external', id, redis.call('HGET', SHOWN, field) or nil, shown)
  redis.call('HDEL', DIGESTS, field)
  if text then
    redis.call('HSET', RECORD_DIGESTS, field, redis.sha1hex(text))
    redis.call('HSET', SHOWN, field, shown)
  else
    redis.call('HDEL', RECORD_DIGESTS, field)
    redis.call('HDEL', SHOWN, field)
  end
end
local function changedRecords(kinds)
  local changed, seen = {}, {}
  for _, kind in ipairs(kinds) do
    local records = redis.call('HGETALL', FLAGS .. ':' .. kind)
    for i = 1, #records, 2 do
      seen[kind .. ':' .. records[i]] = true
      if redis.call('HGET', RECORD_DIGESTS, kind .. ':' .. records[i]) ~= redis.sha1hex(records[i + 1]) then table.insert(changed, {kind, records[i], records[i + 1]}) end
    end
  end
  for _, field in ipairs(redis.call('HKEYS', RECORD_DIGESTS)) do
    if not seen[field] then
      local kind, id = string.match(field, '^([%a-]+):(.*)$')
      table.insert(changed, {kind, id, false})
    end
  end
  return changed
end
local function adoptRecords(kinds)
  local changed = changedRecords(kinds)
  if #changed == 0 then return end
  local revision = nextRevision()
  for i = 1, math.min(#changed, ${MOST_RECORDS}) do adoptRecord(changed[i][1], changed[i][2], changed[i][3] or nil, revision) end
  publish(revision, {}, false, true)
end
`;
