import type { FlagRule } from '@mlx-serving/policy';

/**
 * Whether every rule matches (SPEC F5). A missing or wrongly typed attribute never matches, nor does one that cannot be read.
 */
export function matchesRules(rules: readonly FlagRule[], attributes: unknown): boolean {
  if (rules.length === 0) return true;
  if (typeof attributes !== 'object' || attributes === null) return false;
  try {
    return rules.every((rule) => Object.hasOwn(attributes, rule.attribute) && matches(rule, (attributes as Record<string, unknown>)[rule.attribute]));
  } catch {
    // A getter or a proxy of the caller threw.
    return false;
  }
}

function matches(rule: FlagRule, value: unknown): boolean {
  switch (rule.operator) {
    case 'equals':
      return value === rule.value;
    case 'contains':
      if (typeof value === 'string') return typeof rule.value === 'string' && value.includes(rule.value);
      return Array.isArray(value) && value.includes(rule.value);
    case 'greaterThan':
      return typeof value === 'number' && typeof rule.value === 'number' && value > rule.value;
    default:
      return false;
  }
}
