import { create } from '@bufbuild/protobuf';
import { ApiKeySchema, type Flags, type Handlers } from '@mlx-serving/contracts';
import type { KeyService } from './key-service.ts';
import type { SpendingService } from './spending-service.ts';

/** The calls about who may call the gateways. */
export function createKeyHandlers(keys: KeyService, spending: SpendingService): Pick<Handlers<typeof Flags>, 'createApiKey' | 'listApiKeys' | 'revokeApiKey'> {
  return {
    createApiKey: ({ key = create(ApiKeySchema), actor }) => keys.create(key, actor),
    listApiKeys: async () => {
      const states = keys.list().map(async (key) => {
        const balance = await spending.balanceOf(key);
        return balance ? { key, balance } : { key };
      });
      return { keys: await Promise.all(states) };
    },
    revokeApiKey: async ({ id, actor }) => {
      await keys.revoke(id, actor);
      return {};
    },
  };
}
