import { describe, expect, it } from '@jest/globals';
import { create } from '@bufbuild/protobuf';
import { DecisionSchema, StreamOutcome } from '@mlx-serving/contracts';
import { createLogger, type ErrorCode, plainLines, ServiceError } from '@mlx-serving/service-kit';
import { GenerationRecord } from '../generation/generation-record.ts';
import { logFinished, outcomeOf, toStreamReport } from './stream-report.ts';

const record = new GenerationRecord(
  { requestId: 'r', route: 'chat', model: 'm', input: { case: 'prompt', value: 'my secret' }, sampling: {}, user: 'ada', arrivedAt: performance.now() },
  create(DecisionSchema, { requestId: 'r', variant: 'canary', variantReason: 'IN_CANARY_SHARE', enabledFlags: ['a'], flagReasons: { a: 'ROLLED_OUT' }, flagsRevision: 3n }),
);
const failure = (code: ErrorCode, reason: string = code): ServiceError => new ServiceError(code, reason, 'x');

describe('outcomeOf', () => {
  it('takes only server faults for failures', () => {
    expect(outcomeOf(undefined)).toBe(StreamOutcome.OK);
    expect(outcomeOf(failure('CANCELLED', 'CLIENT_GONE'))).toBe(StreamOutcome.CANCELLED);
    for (const code of ['INVALID_ARGUMENT', 'NOT_FOUND', 'RESOURCE_EXHAUSTED'] as const) expect(outcomeOf(failure(code))).toBe(StreamOutcome.REJECTED);
    for (const code of ['INTERNAL', 'UNAVAILABLE', 'DEADLINE_EXCEEDED'] as const) expect(outcomeOf(failure(code))).toBe(StreamOutcome.FAILED);
  });
});

describe('logFinished', () => {
  it('writes one line with the decision and of the prompt only its length and a hash', () => {
    let line = '';
    const logger = createLogger('gateway', 'info', { write: (text: string) => void (line += text) });
    logFinished(record, toStreamReport(record, undefined, 'g'), undefined, { lines: plainLines(logger), logger });
    expect(line.trim().split('\n')).toHaveLength(1);
    expect(line).not.toContain('secret');
    expect(line).not.toContain('ada');
    expect(JSON.parse(line)).toMatchObject({
      level: 'info', requestId: 'r', route: 'chat', outcome: 'ok', variant: 'canary', variantReason: 'IN_CANARY_SHARE', flags: ['a'], flagReasons: { a: 'ROLLED_OUT' },
      flagsRevision: '3', promptLength: 9, promptHash: expect.stringMatching(/^[0-9a-f]{16}$/), durationMs: expect.any(Number),
    });
  });
});
