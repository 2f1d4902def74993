import type { CommandContext } from '../command.ts';
import { errors } from '../errors.ts';

interface Health {
  readonly canary: { readonly percentage: number };
}

const VERIFY_MS = 5_000;
const LOOK_EVERY_MS = 100;

/** Waits until the gateway routes so. @throws CHECK_FAILED when it does not */
export async function verify({ api, write }: Pick<CommandContext, 'api' | 'write'>, percentage: number): Promise<void> {
  for (const end = performance.now() + VERIFY_MS; performance.now() < end; await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))) {
    const { canary } = await api.gateway<Health>('/health/canary');
    if (canary.percentage === percentage) return write(`verified: the gateway sends ${percentage} % to the canary`);
  }
  throw errors.CHECK_FAILED({ problem: `The gateway does not send ${percentage} % to the canary.` });
}
