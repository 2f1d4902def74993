import type { CommandContext } from '../command.ts';
import { errors } from '../errors.ts';

export interface StageBody {
  readonly percentage: number;
  readonly hold_ms: number;
  readonly gate: boolean;
}

/** Reads `1,10:gate,50,100`: shares, and after which a person is asked. */
export function readStages(text: string | undefined, holdHours: number): StageBody[] {
  if (!text) return [];
  return text.split(',').map((part) => {
    const [share = '', gate] = part.trim().split(':');
    if (gate !== undefined && gate !== 'gate') throw errors.USAGE({ problem: `'${part}' is no stage.` });
    return { percentage: readNumber('stages', share), hold_ms: Math.round(holdHours * 3_600_000), gate: gate === 'gate' };
  });
}

/** The shares of the guide, each after the last one. */
const USUAL_SHARES: readonly number[] = [1, 10, 50, 100];

/**
 * The target of a rollout by `--percentage`, `--stages` and `--duration`. A duration without stages is how long each of the
 * guide's shares beyond the percentage is watched before the next.
 */
export function readTarget({ percentage: share, stages: list, duration }: CommandContext['values']): { percentage: number; stages: StageBody[] } {
  const percentage = readNumber('percentage', share ?? '1');
  const holdHours = duration === undefined ? 0 : readNumber('duration', duration);
  if (typeof list === 'string') return { percentage, stages: readStages(list, holdHours) };
  const usual = duration === undefined ? [] : [percentage, ...USUAL_SHARES.filter((each) => each > percentage)];
  return { percentage, stages: readStages(usual.join(), holdHours) };
}

/** @throws USAGE when the text is no number of at least 0 */
export function readNumber(option: string, text: string | boolean | undefined): number {
  const value = Number(text);
  if (typeof text !== 'string' || text === '' || !(value >= 0)) throw errors.USAGE({ problem: `--${option} must be a number of at least 0.` });
  return value;
}
