import { describe, expect, it } from '@jest/globals';
import { errors } from '../errors.ts';
import type { GenerateService } from '../generation/generate-service.ts';
import type { GenerationRequest, GenerationSink } from '../generation/generation-types.ts';
import { runChoices } from './answer-request.ts';

const sink: GenerationSink = { decided: () => undefined, tokens: () => undefined, finished: () => undefined };
const requests = [0, 1].map((choice) => ({ requestId: 'r', choice }) as GenerationRequest);

describe('several answers to one request', () => {
  it('are not begun for a client that is gone already', async () => {
    let begun = 0;
    const service = {
      generate: async (_request: unknown, _sink: unknown, { signal }: AbortController) => {
        signal.throwIfAborted();
        begun++;
      },
    } as unknown as GenerateService;
    const abort = new AbortController();
    abort.abort(errors.CLIENT_GONE());
    await expect(runChoices(service, requests, () => sink, abort)).rejects.toMatchObject({ reason: 'CLIENT_GONE' });
    expect(begun).toBe(0);
  });
});
