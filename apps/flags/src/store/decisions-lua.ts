/** So long is it known which batch of a source was added last, in seconds: it is sent again within seconds of an answer that did not come. */
const KEPT_S = 24 * 3_600;

/**
 * Adds a batch of decisions to the counters, unless it was added before and only its answer got lost.
 * KEYS: the number of the last batch of this source. ARGV: number of the batch, then a counter and what it rises by, each.
 */
export const addDecisions = `
if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ${KEPT_S})
for i = 2, #ARGV, 2 do redis.call('INCRBY', ARGV[i], ARGV[i + 1]) end
return 1
`;
