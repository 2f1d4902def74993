import { Priority } from '@mlx-serving/contracts';
import { type HttpContext, readUserHeader } from '../http/http-context.ts';
import { type Caller, deadlineOf, priorityOf, text } from './caller.ts';

/** Says who asks, before the body is read; then, once it is known whether the answer is a stream, what they may. */
export type ReadCaller = (context: Pick<HttpContext, 'request' | 'response'>) => (stream: boolean) => Caller;

export function createReadCaller(): ReadCaller {
  return ({ request: { headers } }) =>
    (stream) => ({
      tenant: undefined,
      priority: priorityOf(text(headers['x-mlx-serving-priority']), Priority.NORMAL),
      deadlineMs: deadlineOf(headers, stream),
      routingKey: (user) => user ?? readUserHeader(headers),
      admit: () => undefined,
      used: () => undefined,
    });
}
