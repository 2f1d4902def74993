import { readFile } from 'node:fs/promises';
import { checkPolicies, problemsOf, qosMonitor, runtimeFile, type SloPolicy } from '@mlx-serving/policy';
import { ConfigError, parseYaml } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';

const policyList = qosMonitor.shape.policy_store.shape.policies;

/** The policies of a runtime.yaml, or of a file that is a list of policies. @throws ConfigError with every problem, its line and its column */
export async function readPolicies(path: string | undefined): Promise<readonly SloPolicy[]> {
  if (path === undefined) throw errors.USAGE({ problem: 'Name a file.' });
  const text = await readFile(path, 'utf8').catch(() => {
    throw errors.USAGE({ problem: `${path} cannot be read.` });
  });
  try {
    return parsePolicies(path, text);
  } catch (error) {
    if (error instanceof ConfigError) throw errors.REFUSED({ message: error.message });
    throw error;
  }
}

function parsePolicies(path: string, text: string): readonly SloPolicy[] {
  if (!/^- /m.test(text.split('\n').find((line) => /^[^#\s]/.test(line)) ?? '')) return parseYaml(path, text, runtimeFile, checkPolicies).qos_monitor.policy_store.policies;
  return parseYaml(path, text, policyList, (policies) => policies.flatMap((policy, at) => problemsOf(policy).map((problem) => ({ ...problem, path: [at, ...problem.path] }))));
}
