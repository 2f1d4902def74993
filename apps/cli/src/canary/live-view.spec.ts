import { describe, expect, it } from '@jest/globals';
import { LiveView } from './live-view.ts';

describe('LiveView', () => {
  const shown = (isTerminal: boolean, ...texts: string[]): string[] => {
    const written: string[] = [];
    const view = new LiveView({ isTerminal, write: (text) => written.push(text) });
    for (const text of texts) view.show(text);
    return written;
  };

  it('goes back over the lines of the last text on a terminal, and clears them', () => {
    expect(shown(true, 'a\nb\nc', 'd', 'e')).toEqual(['a\nb\nc', '\u001b[3A\u001b[0Jd', '\u001b[1A\u001b[0Je']);
  });

  it('writes one text below the other where nobody looks on', () => {
    expect(shown(false, 'a\nb', 'c')).toEqual(['a\nb', 'c']);
  });
});
