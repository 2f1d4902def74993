import { stripTypeScriptTypes } from 'node:module';

/** Jest transformer: erases types the way Node itself does, so tests run the very text that `node` runs. */
export default {
  process: (source, path) => ({ code: path.endsWith('.ts') ? stripTypeScriptTypes(source, { mode: 'strip' }) : source }),
};
