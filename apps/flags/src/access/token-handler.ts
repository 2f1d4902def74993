import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AccessTokenSchema, Flags, Handlers } from '@mlx-serving/contracts';
import type { AccessToken, TokenService } from './token-service.ts';

/** The calls about who may use the admin interface. */
export function createTokenHandlers(tokens: TokenService): Pick<Handlers<typeof Flags>, 'createToken' | 'listTokens' | 'revokeToken' | 'authenticateToken'> {
  return {
    createToken: async (request) => {
      const { token, secret } = await tokens.create(request);
      return { token: toMessage(token), secret };
    },
    listTokens: async () => ({ tokens: tokens.list().map(toMessage) }),
    revokeToken: async ({ id, actor }) => {
      await tokens.revoke(id, actor);
      return {};
    },
    authenticateToken: async ({ secretHash }) => ({ token: toMessage(tokens.authenticate(secretHash)) }),
  };
}

function toMessage({ createdAtMs, ...token }: AccessToken): MessageInitShape<typeof AccessTokenSchema> {
  return { ...token, createdAtMs: BigInt(createdAtMs) };
}
