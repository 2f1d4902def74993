import { type FlagConfig, findCircle, flagName, parentOf, referencesOf, RESERVED_NAMES } from '@mlx-serving/policy';
import { errors } from '../errors.ts';
import { decodeDefinition, MAX_FLAGS } from '../snapshot/decode-definition.ts';
import type { LiveFlag, LiveFlags } from '../snapshot/live-flags.ts';

/**
 * Reads a definition that somebody wants to write.
 * @throws FLAG_INVALID with everything that is wrong with it
 */
export function readDefinition(name: string, text: string): { config: FlagConfig; speaksOfKillSwitch: boolean } {
  const named = flagName.safeParse(name);
  if (!named.success) throw errors.FLAG_INVALID({ problem: `The name ${named.error.issues[0]?.message ?? 'is not usable'}.` }, { param: 'name' });
  if (RESERVED_NAMES.has(name)) throw errors.FLAG_INVALID({ problem: `${name} is not a flag.` }, { param: 'name' });
  const decoded = decodeDefinition(text);
  if ('problem' in decoded) throw errors.FLAG_INVALID({ problem: decoded.problem }, { param: 'definition_json' });
  return { config: decoded.value.config, speaksOfKillSwitch: 'killSwitch' in decoded.value.body };
}

/**
 * Checks a definition against the other flags and the segments.
 * @throws FLAG_INVALID when its parent, a required flag or a segment is unknown, or it would require itself in a circle
 */
export function checkAmongOthers(name: string, config: FlagConfig, { flags, segments }: Pick<LiveFlags, 'flags' | 'segments'>): void {
  const requirements = new Map(flags.map((flag) => [flag.name, referencesOf(flag.config).requires]));
  if (!requirements.has(name) && requirements.size >= MAX_FLAGS) throw errors.FLAG_INVALID({ problem: `There are ${MAX_FLAGS} flags already.` });
  const parent = parentOf(name);
  const references = referencesOf(config);
  const missing = [...(parent === undefined ? [] : [parent]), ...references.requires].filter((other) => other !== name && !requirements.has(other));
  if (missing.length > 0) throw errors.FLAG_INVALID({ problem: `There is no flag ${missing.join(', ')}.` }, { param: 'requires' });
  const unknown = references.segments.filter((segment) => !segments.some((known) => known.name === segment));
  if (unknown.length > 0) throw errors.FLAG_INVALID({ problem: `There is no segment ${unknown.join(', ')}.` }, { param: 'segments' });
  const circle = findCircle(requirements.set(name, references.requires));
  if (circle?.includes(name)) throw errors.FLAG_INVALID({ problem: `The requirements form a circle: ${circle.join(' → ')}.` }, { param: 'requires' });
}

/** @throws FLAG_IN_USE when another flag requires this one, or is a part of it */
export function assertNotRequired(name: string, flags: readonly LiveFlag[]): void {
  const users = flags.filter((flag) => flag.name !== name && (parentOf(flag.name) === name || referencesOf(flag.config).requires.includes(name)));
  if (users.length > 0) throw errors.FLAG_IN_USE({ name, flags: users.map((flag) => flag.name).join(', ') });
}
