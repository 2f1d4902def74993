import type { Token } from '@mlx-serving/contracts';

const encoder = new TextEncoder();

/** What OpenAI's chat answers say of a token's probability. */
export interface ChatLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: number[];
  readonly top_logprobs: readonly Omit<ChatLogprob, 'top_logprobs'>[];
}

/** @param most how many of the likeliest tokens are shown */
export function chatLogprob(token: Token, most: number): ChatLogprob {
  const shown = ({ text, logprob }: { text: string; logprob: number }) => ({ token: text, logprob, bytes: [...encoder.encode(text)] });
  return { ...shown({ text: ownText(token), logprob: token.logprob ?? 0 }), top_logprobs: token.topLogprobs.slice(0, most).map(shown) };
}

/** What the answers of text completions say of their tokens' probabilities. */
export interface TextLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: number[];
  readonly top_logprobs: Record<string, number>[] | null;
  readonly text_offset: number[];
}

/** @param offset characters of the answer before these tokens */
export function textLogprobs(tokens: readonly Token[], most: number, offset: number): TextLogprobs {
  let at = offset;
  const offsets = tokens.map(({ text }) => {
    const own = at;
    at += text.length;
    return own;
  });
  return {
    tokens: tokens.map(ownText),
    token_logprobs: tokens.map(({ logprob }) => logprob ?? 0),
    top_logprobs: most === 0 ? null : tokens.map(({ topLogprobs }) => Object.fromEntries(topLogprobs.slice(0, most).map(({ text, logprob }) => [text, logprob]))),
    text_offset: offsets,
  };
}

/** The token's text by itself: what it adds to the answer may be held back, or be empty inside a character. */
function ownText(token: Token): string {
  return token.topLogprobs.find(({ id }) => id === token.id)?.text ?? token.text;
}
