/** One metric in a PromQL expression, with the labels by which it is selected. */
export interface MetricUse {
  readonly name: string;
  readonly labels: readonly string[];
}

const KEYWORDS = new Set(['and', 'or', 'unless', 'bool', 'offset', 'inf', 'nan', 'by', 'without', 'on', 'ignoring', 'group_left', 'group_right']);
const GROUPING = /\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/gi;

/** The metrics that an expression reads: every name that is neither a function, a keyword nor a label. */
export function metricsOf(expression: string): MetricUse[] {
  const text = expression.replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, '""').replace(/\[[^\]]*\]/g, ' ').replace(GROUPING, ' ');
  const names = text.matchAll(/(?<![\w:.{,])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\}|\()?/g);
  return [...names]
    .filter(([, name = '', follow = '']) => !follow.startsWith('(') && !KEYWORDS.has(name.toLowerCase()))
    .map(([, name = '', follow = '']) => ({ name, labels: [...follow.matchAll(/([a-zA-Z_]\w*)\s*(?:=~|!=|!~|=)/g)].map(([, label = '']) => label) }));
}

/** The labels by which an expression groups. */
export function groupingLabelsOf(expression: string): string[] {
  return [...expression.matchAll(GROUPING)].flatMap(([, , labels = '']) => labels.split(',').map((label) => label.trim())).filter((label) => label !== '');
}
