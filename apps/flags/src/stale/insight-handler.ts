import type { Flags, Handlers } from '@mlx-serving/contracts';
import type { ImpactService } from '../impact/impact-service.ts';
import type { StaleService } from './stale-service.ts';

/** The calls that say something about flags and change nothing. */
export function createInsightHandlers(impact: ImpactService, stale: StaleService): Pick<Handlers<typeof Flags>, 'previewFlag' | 'listStaleFlags'> {
  return {
    previewFlag: async ({ name, definitionJson }) => impact.preview(name, definitionJson),
    listStaleFlags: async ({ stableMs }) => ({ flags: (await stale.list(Number(stableMs))).map((flag) => ({ ...flag, sinceMs: BigInt(flag.sinceMs) })) }),
  };
}
