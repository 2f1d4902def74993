import type { GenerationResult } from '../generation/generation-types.ts';
import type { AnswerUsage } from './answer-format.ts';

/** What all answers cost together: every generated token, and each prompt once. */
export function usageOf(results: readonly (GenerationResult | undefined)[], choicesPerPrompt: number): AnswerUsage {
  const usage = { promptTokens: 0, completionTokens: 0, cachedPromptTokens: 0 };
  results.forEach((result, choice) => {
    usage.completionTokens += result?.completionTokens ?? 0;
    if (choice % choicesPerPrompt !== 0) return;
    usage.promptTokens += result?.promptTokens ?? 0;
    usage.cachedPromptTokens += result?.cachedPromptTokens ?? 0;
  });
  return usage;
}
