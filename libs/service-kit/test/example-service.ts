import { writeSync } from 'node:fs';
import { run } from '../src/run.ts';
import { commonEnvironment } from '../src/config/common-environment.ts';
import { StartupError } from '../src/lifecycle-errors.ts';
import { text } from '../src/config/environment-schemas.ts';

/** A service of a few lines, run as a process by the spec of `run`. `X_MODE` chooses how it behaves. */
await run({
  name: 'example',
  description: 'shows how a service starts and stops',
  environment: { ...commonEnvironment({ name: 'X_OPERATIONS_PORT', default: '9199' }), mode: { name: 'X_MODE', default: 'good', schema: text, help: 'How to behave.' } },
  createApp: ({ mode }) => {
    if (mode === 'no-start') throw new StartupError('Port 1 is in use.');
    const alive = setInterval(() => undefined, 1_000);
    return {
      start: () => (mode === 'broken-start' ? Promise.reject(new TypeError('a defect')) : Promise.resolve()),
      stop: () => {
        writeSync(1, 'stopped\n');
        // What a slow stop waits for keeps its process alive.
        if (mode !== 'slow-stop') clearInterval(alive);
        if (mode === 'slow-stop') return new Promise<void>((resolve) => process.once('SIGINT', () => setImmediate(resolve)));
        return mode === 'broken-stop' ? Promise.reject(new Error('cannot')) : Promise.resolve();
      },
      reload: () => {
        writeSync(1, 'reloaded\n');
        if (mode === 'throw-later') setImmediate(() => { throw new Error('a defect'); });
        return mode === 'broken-reload' ? Promise.reject(new Error('cannot')) : Promise.resolve();
      },
    };
  },
});
