import type { IncomingHttpHeaders } from 'node:http';
import { type ApiKey, Priority } from '@mlx-serving/contracts';
import type { RuntimeFile } from '@mlx-serving/policy';
import { LONGEST_USER } from '../openai/request-bounds.ts';
import type { ApiKeys } from './api-keys.ts';
import { type Caller, deadlineOf, priorityOf, text } from './caller.ts';
import type { KeyLedger } from './key-ledger.ts';

/** What a request says of its caller: the headers of HTTP, the metadata of gRPC. */
export interface CallerHeaders {
  readonly headers: IncomingHttpHeaders;
  /** Takes the headers that say what is left of the key's limits. */
  readonly onLimits?: (headers: Record<string, string>) => void;
}

/** Says who asks, before the body is read; then, once it is known whether the answer is a stream, what they may. */
export type ReadCaller = (request: CallerHeaders) => (stream: boolean) => Caller;

export interface CallerServiceOptions {
  readonly keys: ApiKeys;
  readonly ledger: KeyLedger;
  readonly routing: () => RuntimeFile['routing'];
}

/** @throws API_KEY_MISSING or API_KEY_WRONG from the reading, INVALID_REQUEST from what follows */
export function createReadCaller({ keys, ledger, routing }: CallerServiceOptions): ReadCaller {
  return ({ headers, onLimits }) => {
    const key = keys.identify(headers.authorization);
    return (stream) => ({
      tenant: key?.tenant,
      priority: priorityOf(text(headers['x-mlx-serving-priority']), key?.priority ?? Priority.NORMAL),
      deadlineMs: deadlineOf(headers, stream),
      user: (given) => given ?? userIn(headers, routing().header),
      routingKey: (user) => routingKey(routing(), user, headers, key),
      ...(key ? spending(key, ledger, onLimits) : { admit: () => undefined, used: () => undefined }),
    });
  };
}

function spending(key: ApiKey, ledger: KeyLedger, onLimits: CallerHeaders['onLimits']): Pick<Caller, 'admit' | 'used'> {
  const budget = ledger.budgetOf(key);
  return {
    admit: () => {
      try {
        budget.admit();
      } finally {
        onLimits?.(budget.headers);
      }
    },
    used: (tokens) => budget.used(tokens),
  };
}

function routingKey({ key: sources, header }: RuntimeFile['routing'], user: string | undefined, headers: IncomingHttpHeaders, key: ApiKey | undefined): string | undefined {
  for (const source of sources) {
    const found = source === 'user' ? user : source === 'header' ? userIn(headers, header) : key?.id;
    if (found !== undefined) return found;
  }
  return undefined;
}

function userIn(headers: IncomingHttpHeaders, name: string): string | undefined {
  const user = text(headers[name]);
  return user !== undefined && user.length <= LONGEST_USER ? user : undefined;
}
