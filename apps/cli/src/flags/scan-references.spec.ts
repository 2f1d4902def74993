import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { scanReferences } from './scan-references.ts';

describe('F25: the scan for references to flags', () => {
  let folder: string;
  const write = (path: string, text: string): void => {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'scan-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('names file and line of each flag, whole names only, and none in folders of others', async () => {
    write('src/app.ts', "const a = 1;\nif (flags.isEnabled('checkout')) go();\nisEnabled('checkout.fast');\n");
    write('src/other.py', 'enabled("checkout_old")\nenabled("checkout-new")\n');
    write('node_modules/x/index.js', "isEnabled('checkout')");
    write('.git/config.json', '"checkout"');
    write('picture.bin', 'checkout');
    const found = await scanReferences(folder, ['checkout', 'checkout.fast', 'gone']);
    expect(found.get('checkout')).toEqual([{ file: join('src', 'app.ts'), line: 2 }]);
    expect(found.get('checkout.fast')).toEqual([{ file: join('src', 'app.ts'), line: 3 }]);
    expect(found.get('gone')).toEqual([]);
  });
});
