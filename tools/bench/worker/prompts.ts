const WORDS = ['flag', 'canary', 'rollout', 'request', 'worker', 'token', 'stream', 'switch', 'gateway', 'policy', 'batch', 'cache', 'prompt', 'model', 'queue', 'tenant'];
/** With the packaged tokenizer these words are about one and a half tokens each. */
const TOKENS_PER_WORD = 1.47;

let made = 0;

/** A prompt of about so many tokens that shares no beginning with any other. The same ones in every run. */
export function freshPrompt(tokens: number): string {
  made++;
  let state = made * 2_654_435_761;
  const words = [`${made}`];
  while (words.length * TOKENS_PER_WORD < tokens) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    words.push(WORDS[state >>> 28] ?? 'flag');
  }
  return words.join(' ');
}
