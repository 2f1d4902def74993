import { type Counts, addCounts } from './counts.ts';

/** What a step found. `note` is shown beside it. */
export interface StepOutcome {
  readonly counts: Counts;
  readonly note?: string;
  /** It could not be done here, and the note says why: it counts neither way. */
  readonly skipped?: boolean;
  /** What failed, by name and with the beginning of its message. */
  readonly failures?: readonly string[];
}

export interface Step {
  readonly name: string;
  run(): Promise<StepOutcome>;
}

export interface StepResult extends StepOutcome {
  readonly name: string;
  readonly seconds: number;
}

/** Runs steps one after the other. A step that throws has failed. */
export async function runLane(steps: readonly Step[], onResult: (result: StepResult) => void): Promise<StepResult[]> {
  const results: StepResult[] = [];
  for (const step of steps) {
    const began = performance.now();
    const outcome = await step.run().catch((error: Error): StepOutcome => ({ counts: { passed: 0, failed: 1 }, note: error.message }));
    const result = { ...outcome, name: step.name, seconds: (performance.now() - began) / 1000 };
    onResult(result);
    results.push(result);
  }
  return results;
}

export function markOf({ counts, skipped }: StepResult): string {
  if (skipped) return '–';
  return counts.failed > 0 || counts.passed === 0 ? '✗' : '✓';
}

/** One line for a step that has just ended. */
export function lineOf(result: StepResult): string {
  const { counts, seconds, name, note } = result;
  const failed = counts.failed > 0 ? `, ${counts.failed} failed` : '';
  return `${markOf(result)} ${name.padEnd(16)} ${seconds.toFixed(1).padStart(6)} s  ${counts.passed} passed${failed}${note ? `  (${note})` : ''}`;
}

/** All steps again, and the line that counts. */
export function summaryOf(results: readonly StepResult[]): { text: string; ok: boolean } {
  const total = addCounts(results.map(({ counts }) => counts));
  const ok = total.failed === 0 && total.passed > 0 && results.every((result) => markOf(result) !== '✗');
  return { text: `\n${results.map(lineOf).join('\n')}\n\n${total.passed} passed, ${total.failed} failed\n`, ok };
}
