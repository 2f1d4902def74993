import { setTimeout as delay } from 'node:timers/promises';
import { createServiceClient, Flags } from '@mlx-serving/contracts';
import type { System } from './system.ts';

const ACTOR = 'bench';
const LIMIT_MS = 30_000;

/** Milliseconds from the order to revoke a key until the gateway refuses it. @throws Error when it never does */
export async function revokedAfter({ flagsAddress, gateway }: System): Promise<number> {
  const flags = createServiceClient(Flags, flagsAddress);
  try {
    const { key, secret } = await flags.createApiKey({ key: { name: 'bench' }, actor: ACTOR });
    const answers = async (status: number): Promise<void> => {
      const began = performance.now();
      while ((await fetch(`http://${gateway.address}/v1/models`, { headers: { authorization: `Bearer ${secret}` } })).status !== status) {
        if (performance.now() - began > LIMIT_MS) throw new Error(`The key was not answered with ${status} within ${LIMIT_MS} ms.`);
        await delay(1);
      }
    };
    await answers(200);
    const began = performance.now();
    await flags.revokeApiKey({ id: key?.id ?? '', actor: ACTOR });
    await answers(401);
    return performance.now() - began;
  } finally {
    flags.close();
  }
}
