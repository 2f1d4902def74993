import { describe, expect, it } from '@jest/globals';
import { setImmediate } from 'node:timers/promises';
import { TURN_BYTES, TurnShare } from './turn-share.ts';

describe('the share of one stream in a turn of the event loop', () => {
  it('is over after so many bytes, and the next begins with the next turn', async () => {
    const events: string[] = [];
    const share = new TurnShare(() => events.push('stop'), () => events.push('go on'));
    share.took(TURN_BYTES - 1);
    expect([share.aside, events]).toEqual([false, []]);
    share.took(1);
    // What was on its way already counts for nothing more.
    share.took(TURN_BYTES);
    await Promise.resolve();
    expect([share.aside, events]).toEqual([true, ['stop']]);
    await setImmediate();
    expect([share.aside, events]).toEqual([false, ['stop', 'go on']]);
  });
});
