import { describe, expect, it } from '@jest/globals';
import { commonEnvironment } from './common-environment.ts';
import { address, addresses, flag, port, positiveInteger, text } from './environment-schemas.ts';
import { environmentHelp, readEnvironment } from './environment.ts';

const table = {
  port: { name: 'X_PORT', default: '3000', schema: port, help: 'Port.' },
  workers: { name: 'X_WORKERS', schema: addresses, help: 'Workers.' },
  debug: { name: 'X_DEBUG', default: 'false', schema: flag, help: 'Debug.' },
};

describe('readEnvironment', () => {
  it('takes defaults, also for empty text, and answers a frozen object', () => {
    const values = readEnvironment(table, { X_PORT: '', X_DEBUG: 'true' });
    expect(values).toEqual({ port: 3000, workers: [], debug: true });
    expect(Object.isFrozen(values)).toBe(true);
  });

  it('names every variable at fault, one line each', () => {
    expect(() => readEnvironment(table, { X_PORT: '99999', X_WORKERS: 'a:1,b', X_DEBUG: 'yes' })).toThrow(/^X_PORT=99999: .+\nX_WORKERS=a:1,b: must be host:port\nX_DEBUG=yes: .+$/);
  });

  it('has the variables that every service has, bound to loopback and untrusting by default', () => {
    const values = readEnvironment(commonEnvironment({ name: 'X_OPERATIONS_PORT', default: '9101' }), {});
    expect(values).toEqual({ host: '127.0.0.1', trustedNetwork: false, operationsPort: 9101, stateDirectory: '.mlx-serving', configDirectory: 'config' });
  });
});

describe('environmentHelp', () => {
  it('lists every variable with its default and meaning', () => {
    const help = environmentHelp('x', 'An example', table);
    expect(help).toContain('mlx-serving-x: An example');
    expect(help).toContain('  X_PORT=3000\n      Port.');
    expect(help).toContain('  X_WORKERS\n      Workers.');
  });
});

describe('the schemas of variables', () => {
  it.each([
    [port, '0', true],
    [port, '65536', false],
    [port, '80.5', false],
    [port, 'http', false],
    [positiveInteger, '1', true],
    [positiveInteger, '0', false],
    [text, '', false],
    [address, 'localhost:1', true],
    [address, '[::1]:50061', true],
    [address, '::1:50061', false],
    [address, 'localhost', false],
    [address, 'a b:1', false],
    [addresses, ' a:1 , b:2 ,', true],
    [flag, '1', false],
  ])('case %#: %s reads %p: %p', (schema, value, valid) => {
    expect(schema.safeParse(value).success).toBe(valid);
  });
});
