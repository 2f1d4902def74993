import { describe, expect, it } from '@jest/globals';
import { LaunchError, readStartOptions } from './options.ts';
import { portsFor, portsInUse } from './ports.ts';
import { RestartBudget } from './restart-budget.ts';
import { contentOf } from './first-answer.ts';

describe('the command line of npm start', () => {
  it('has a default for everything', () => {
    expect(readStartOptions([], '/checkout')).toEqual({ portOffset: 0, stateDirectory: '/checkout/.mlx-serving', canary: false, once: false, json: false });
  });

  it('answers null when help is asked for', () => {
    expect(readStartOptions(['--help'], '/')).toBeNull();
  });

  it.each([[['--port-offset', 'x']], [['--port-offset', '-1']], [['--port-offset', '20000']], [['--unknown']], [['stray']]])('refuses %j in one line', (args) => {
    const read = (): unknown => readStartOptions(args, '/');
    expect(read).toThrow(LaunchError);
    expect(read).toThrow(/^[^\n]+$/);
  });
});

describe('the ports', () => {
  it('all move by the offset', () => {
    expect(portsFor(100)).toMatchObject({ gatewayHttp: 3100, gatewayGrpc: 50151, worker: 50161, redis: 16479 });
  });

  it('leave out what is not started', () => {
    const ports = portsFor(0);
    expect(portsInUse(ports, { canary: true, redis: true })).toHaveLength(Object.keys(ports).length);
    expect(portsInUse(ports, { canary: false, redis: false })).not.toEqual(expect.arrayContaining([ports.redis]));
    expect(portsInUse(ports, { canary: false, redis: true })).not.toEqual(expect.arrayContaining([ports.canaryWorker]));
  });
});

describe('the restart budget', () => {
  it('doubles the delay and ends after five within a minute', () => {
    const budget = new RestartBudget();
    expect([1, 2, 3, 4, 5, 6].map((now) => budget.next(now))).toEqual([100, 200, 400, 800, 1600, null]);
  });

  it('forgets what is older than a minute', () => {
    const budget = new RestartBudget();
    for (let now = 0; now < 5; now++) budget.next(now);
    expect(budget.next(60_004)).toBe(100);
  });
});

describe('the text of a stream', () => {
  it('is what its events add up to', () => {
    const event = (content: string): string => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`;
    expect(contentOf(`${event('Hel')}${event('lo')}data: {"choices":[]}\n\ndata: [DONE]\n\n`)).toBe('Hello');
  });
});
