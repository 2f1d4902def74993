import { type FlagConfig, findCircle, flagName, parentOf } from '@mlx-serving/policy';
import { errors } from '../errors.ts';
import { decodeDefinition } from '../snapshot/decode-definition.ts';
import type { LiveFlag } from '../snapshot/live-flags.ts';
import { EMERGENCY_NAME } from '../store/flag-store.ts';

/** Most flags that one store holds, so that a snapshot fits into one message. */
const MAX_FLAGS = 5_000;

/**
 * Reads a definition that somebody wants to write.
 * @throws FLAG_INVALID with everything that is wrong with it
 */
export function readDefinition(name: string, text: string): { config: FlagConfig; speaksOfKillSwitch: boolean } {
  const named = flagName.safeParse(name);
  if (!named.success) throw errors.FLAG_INVALID({ problem: `The name ${named.error.issues[0]?.message ?? 'is not usable'}.` }, { param: 'name' });
  if (name === EMERGENCY_NAME || name === 'observability') throw errors.FLAG_INVALID({ problem: `${name} is not a flag.` }, { param: 'name' });
  const decoded = decodeDefinition(text);
  if ('problem' in decoded) throw errors.FLAG_INVALID({ problem: decoded.problem }, { param: 'definition_json' });
  return { config: decoded.value.config, speaksOfKillSwitch: 'killSwitch' in decoded.value.body };
}

/**
 * Checks a definition against the other flags.
 * @throws FLAG_INVALID when its parent or a required flag is unknown, or it would require itself in a circle
 */
export function checkAmongOthers(name: string, config: FlagConfig, others: readonly LiveFlag[]): void {
  const requirements = new Map(others.map((flag) => [flag.name, flag.config.requires]));
  if (!requirements.has(name) && requirements.size >= MAX_FLAGS) throw errors.FLAG_INVALID({ problem: `There are ${MAX_FLAGS} flags already.` });
  const parent = parentOf(name);
  const missing = [...(parent === undefined ? [] : [parent]), ...config.requires].filter((other) => other !== name && !requirements.has(other));
  if (missing.length > 0) throw errors.FLAG_INVALID({ problem: `There is no flag ${missing.join(', ')}.` }, { param: 'requires' });
  const circle = findCircle(requirements.set(name, config.requires));
  if (circle?.includes(name)) throw errors.FLAG_INVALID({ problem: `The requirements form a circle: ${circle.join(' → ')}.` }, { param: 'requires' });
}
