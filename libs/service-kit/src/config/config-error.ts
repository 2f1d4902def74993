/** One thing that is wrong in a configuration file. Line and column count from 1. */
export interface ConfigIssue {
  readonly line: number;
  readonly column: number;
  /** The keys that lead to the value, joined with dots; empty for the whole file. */
  readonly path: string;
  readonly message: string;
}

/** Everything that is wrong in one configuration source, at once. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly file: string;
  readonly issues: readonly ConfigIssue[];

  constructor(file: string, issues: readonly ConfigIssue[]) {
    super(issues.map((issue) => `${file}:${issue.line}:${issue.column} ${issue.path ? `${issue.path}: ` : ''}${issue.message}`).join('\n'));
    this.file = file;
    this.issues = issues;
  }
}
