import { readFileSync } from 'node:fs';

/** Lines shown of one failure, and failures shown of one step: the whole is in the log. */
const MOST_LINES = 25;
const MOST_FAILURES = 20;

interface JestReport {
  readonly testResults?: readonly {
    readonly name: string;
    readonly message?: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string; readonly failureMessages: readonly string[] | null }[];
  }[];
}

/** What failed in a Jest report, each with its name and the beginning of its message; a file that could not run goes by its path. */
export function jestFailures(file: string): string[] {
  const report = JSON.parse(readFileSync(file, 'utf8')) as JestReport;
  return (report.testResults ?? []).flatMap(({ name, message = '', assertionResults }) => {
    if (message !== '' && assertionResults.length === 0) return [excerpt(name, message)];
    const failed = assertionResults.filter(({ status }) => status === 'failed');
    return failed.map(({ fullName, failureMessages }) => excerpt(fullName, (failureMessages ?? []).join('\n')));
  });
}

/** What failed in a JUnit report as pytest writes it, each with its name and the beginning of its message. */
export function junitFailures(file: string): string[] {
  const cases = readFileSync(file, 'utf8').matchAll(/<testcase ([^>]*[^/])>([\s\S]*?)<\/testcase>/g);
  return [...cases].flatMap(([, attributes = '', body = '']) => {
    const message = /<(?:failure|error)[^>]*>([\s\S]*?)<\/(?:failure|error)>/.exec(body)?.[1];
    return message === undefined ? [] : [excerpt(`${attribute(attributes, 'classname')}::${attribute(attributes, 'name')}`, lastLines(unescaped(message)))];
  });
}

/** The end of a text: where a command says why it failed. */
export function lastLines(text: string, most = MOST_LINES): string {
  return text.trimEnd().split('\n').slice(-most).join('\n');
}

/** All failures of a step as text, indented, with a word on those left out. Empty when there are none. */
export function shownFailures(failures: readonly string[]): string {
  const shown = failures.slice(0, MOST_FAILURES);
  if (failures.length > shown.length) shown.push(`… and ${failures.length - shown.length} more`);
  return shown.map((failure) => `${failure.replace(/^/gm, '    ')}\n`).join('');
}

function excerpt(name: string, message: string): string {
  return [name, ...plain(message).trimEnd().split('\n').slice(0, MOST_LINES)].join('\n  ');
}

function attribute(attributes: string, name: string): string {
  return unescaped(new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? '?');
}

function unescaped(text: string): string {
  const entities: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };
  return text.replace(/&(?:#(\d+)|(\w+));/g, (whole, code: string | undefined, name: string | undefined) =>
    code === undefined ? (entities[name ?? ''] ?? whole) : String.fromCodePoint(Number(code)));
}

function plain(text: string): string {
  // eslint-disable-next-line no-control-regex -- the colours of a terminal begin with a control character
  return text.replace(/\u001b\[[0-9;]*m/g, '');
}
