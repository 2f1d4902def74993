import { describe, expect, it } from '@jest/globals';
import { createLogger, plainLines } from './logger.ts';

function logged(write: (logger: ReturnType<typeof createLogger>) => void, level?: string): Record<string, unknown>[] {
  const lines: string[] = [];
  write(createLogger('x', level, { write: (line: string) => void lines.push(line) }));
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('createLogger', () => {
  it('writes JSON lines with the level by name, the time and the service', () => {
    expect(logged((logger) => logger.warn({ link: 'qos' }, 'down'))).toEqual([{ level: 'warn', time: expect.stringMatching(/^\d{4}-.+Z$/), service: 'x', link: 'qos', msg: 'down' }]);
  });

  it('leaves out what is below its level', () => {
    expect(logged((logger) => logger.info('quiet'), 'warn')).toEqual([]);
  });

  it('censors prompts and secrets that slip into a field', () => {
    const [line] = logged((logger) => logger.info({ request: { prompt: 'my secret', authorization: 'Bearer abc', messages: ['hi'], id: 1 } }, 'x'));
    expect(line?.['request']).toEqual({ prompt: '[redacted]', authorization: '[redacted]', messages: '[redacted]', id: 1 });
  });

  it('writes plain lines as all others, without looking through their fields', () => {
    const fields = { route: 'chat', reasons: { token: 'ROLLED_OUT' } };
    expect(logged((logger) => plainLines(logger).info(fields, 'x'))).toEqual([{ level: 'info', time: expect.any(String), service: 'x', ...fields, msg: 'x' }]);
  });

  it('writes plain lines with what a child is bound to, whole whatever is in them, and none below its level', () => {
    const fields = { text: '"\n\u2028\\', absent: undefined, list: ['a'] };
    const [line, ...others] = logged((logger) => plainLines(logger.child({ replica: 'r"1' })).info(fields, 'a "b"', '"more":[1],"most":{}'));
    expect(others).toEqual([]);
    expect(line).toEqual({ level: 'info', time: expect.stringMatching(/^\d{4}-.+Z$/), service: 'x', replica: 'r"1', text: fields.text, list: ['a'], more: [1], most: {}, msg: 'a "b"' });
    expect(logged((logger) => plainLines(logger).info(fields, 'x'), 'warn')).toEqual([]);
  });
});
