import { describe, expect, it } from '@jest/globals';
import { tarballProblems } from './packages.ts';

const manifest = {
  name: '@mlx-serving/example',
  bin: { example: './dist/main.js' },
  exports: { '.': { '@mlx-serving/source': './src/index.ts', types: './dist/index.d.ts', default: './dist/index.js' }, './package.json': './package.json' },
};
const files = ['package.json', 'README.md', 'dist/main.js', 'dist/index.js', 'dist/index.d.ts'];

describe('the files of a tarball', () => {
  it('are complete with what exports and bin name, without the source', () => {
    expect(tarballProblems(manifest, files)).toEqual([]);
  });

  it.each(files)('lack %s', (file) => {
    expect(tarballProblems(manifest, files.filter((other) => other !== file))).toEqual([`${file} is not in the tarball`]);
  });

  it.each(['src/index.ts', 'dist/index.spec.js'])('must not hold %s', (file) => {
    expect(tarballProblems(manifest, [...files, file])).toEqual([`${file} does not belong into the tarball`]);
  });

  it('need types', () => {
    expect(tarballProblems({ ...manifest, exports: { '.': './dist/index.js' } }, files)).toEqual(['exports has no types']);
  });
});
