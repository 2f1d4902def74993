import { describe, expect, it } from '@jest/globals';
import { Metadata, status } from '@grpc/grpc-js';
import { defineErrors, type ErrorCode, httpStatus, ServiceError, toGrpcError } from './errors.ts';

const errors = defineErrors({
  FLAG_NOT_FOUND: { code: 'NOT_FOUND', message: 'There is no flag {name}.' },
  QUEUE_FULL: { code: 'RESOURCE_EXHAUSTED', message: 'The queue is full ({size}).' },
});

/** What grpc-js hands to a caller. */
function grpcError(code: number, details: string, metadata?: Record<string, string>): Error {
  const given = new Metadata();
  for (const [key, value] of Object.entries(metadata ?? {})) given.set(key, value);
  return Object.assign(new Error(`${code} ${details}`), { code, details, metadata: given });
}

describe('defineErrors', () => {
  it('fills the values into the message and keeps the cause, the field and the time to wait', () => {
    const cause = new Error('inside');
    const error = errors.FLAG_NOT_FOUND({ name: 'x' }, { cause, param: 'name', retryAfterMs: 5 });
    expect(error).toMatchObject({ code: 'NOT_FOUND', reason: 'FLAG_NOT_FOUND', message: 'There is no flag x.', param: 'name', retryAfterMs: 5, cause });
  });

  it('names the value that was not given instead of showing "undefined"', () => {
    expect(errors.QUEUE_FULL().message).toBe('The queue is full (size).');
  });

  it('does not read a value as a replacement pattern', () => {
    expect(errors.FLAG_NOT_FOUND({ name: "$& $1 $'" }).message).toBe("There is no flag $& $1 $'.");
  });

  it('shows its table, from which the reference is generated', () => {
    expect(Object.keys(errors.table)).toEqual(['FLAG_NOT_FOUND', 'QUEUE_FULL']);
  });
});

describe('ServiceError.from', () => {
  it('leaves a ServiceError as it is', () => {
    const error = errors.QUEUE_FULL({ size: 1 });
    expect(ServiceError.from(error)).toBe(error);
  });

  it('reads back what toGrpcError wrote', () => {
    const sent = toGrpcError(errors.QUEUE_FULL({ size: 8 }, { retryAfterMs: 120.2 }));
    const read = ServiceError.from(Object.assign(new Error(), sent));
    expect(read).toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'QUEUE_FULL', message: 'The queue is full (8).', retryAfterMs: 121 });
  });

  it('does not pass on the text of an error that no service of ours wrote', () => {
    const read = ServiceError.from(grpcError(status.UNAVAILABLE, 'No connection established. Last error: connect ECONNREFUSED 10.1.2.3:50061'));
    expect(read).toMatchObject({ code: 'UNAVAILABLE', reason: 'UNAVAILABLE', message: 'A call inside the system failed: UNAVAILABLE.' });
  });

  it.each([status.UNKNOWN, status.OUT_OF_RANGE, status.DATA_LOSS, status.OK, 99])('reads the status %i, which no service answers, as INTERNAL', (code) => {
    const read = ServiceError.from(grpcError(code, 'secret'));
    expect([read.code, httpStatus(read.code)]).toEqual(['INTERNAL', 500]);
  });

  it.each([new Error('password=hunter2'), 'text', undefined, null, 42, { code: 5 }])('hides anything else behind INTERNAL and keeps it as the cause: %p', (thrown) => {
    const read = ServiceError.from(thrown);
    expect(read).toMatchObject({ code: 'INTERNAL', reason: 'INTERNAL' });
    expect(read.message).not.toContain('hunter2');
    expect(read.cause).toBe(thrown);
  });
});

describe('httpStatus', () => {
  it('answers a lost update with 412 and a full queue with 429', () => {
    expect([httpStatus('ABORTED'), httpStatus('RESOURCE_EXHAUSTED')]).toEqual([412, 429]);
  });

  it('maps every code to an HTTP error, and every code exists in gRPC', () => {
    const codes = Object.keys(status).filter((name) => Number.isNaN(Number(name))).filter((name) => !['OK', 'UNKNOWN', 'OUT_OF_RANGE', 'DATA_LOSS'].includes(name));
    for (const code of codes) {
      expect([code, httpStatus(code as ErrorCode) >= 400]).toEqual([code, true]);
      expect([code, typeof toGrpcError(new ServiceError(code as ErrorCode, 'R', 'm')).code]).toEqual([code, 'number']);
    }
  });
});
