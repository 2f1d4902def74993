import { createHash } from 'node:crypto';
import type { EvaluationContext } from '@mlx-serving/evaluation';
import { sendJson } from '@mlx-serving/service-kit';
import { askAll, askOne, type ClientAnswers, readAsker } from '../flags/client-answers.ts';
import type { HttpContext } from '../http/http-context.ts';
import { ofrepAnswer, type OfrepFailure, ofrepStatus, type OfrepSuccess } from './ofrep-answer.ts';
import { readOfrepQuestion } from './ofrep-context.ts';

/** OpenFeature's Remote Evaluation Protocol: any OpenFeature SDK can ask this gateway (SPEC F20). */
export function createOfrepHandlers(answers: ClientAnswers) {
  const { flags: store } = answers;
  return {
    /** POST /ofrep/v1/evaluate/flags/{key} */
    single: async (http: HttpContext): Promise<void> => {
      const question = await readOfrepQuestion(http, readAsker(answers, http));
      http.response.setHeader('cache-control', 'no-store');
      if ('failure' in question) return sendJson(http.response, 400, { key: http.name, ...question.failure });
      const answer = askOne(answers, http.name, question.context, { headers: http.request.headers, requestId: http.requestId });
      const shown = ofrepAnswer(http.name, answer, store.flags.hasPayload(http.name), store.state.revision);
      sendJson(http.response, ofrepStatus(shown), shown);
    },
    /** POST /ofrep/v1/evaluate/flags: every flag. The ETag names the revision and the question, so a poll without news costs next to nothing. */
    bulk: async (http: HttpContext): Promise<void> => {
      const question = await readOfrepQuestion(http, readAsker(answers, http));
      const { request, response } = http;
      response.setHeader('cache-control', 'no-store');
      if ('failure' in question) return sendJson(response, 400, question.failure);
      const { revision } = store.state;
      const etag = etagOf(revision, question.context);
      response.setHeader('etag', etag);
      if (request.headers['if-none-match'] === etag) {
        response.writeHead(304).end();
        return;
      }
      const flags: (OfrepSuccess | OfrepFailure)[] = [];
      askAll(answers, question.context, { headers: request.headers, requestId: http.requestId }, (name, answer) => {
        flags.push(ofrepAnswer(name, answer, store.flags.hasPayload(name), revision));
      });
      sendJson(response, 200, { flags, metadata: { flagsRevision: String(revision) } });
    },
  };
}

function etagOf(revision: bigint, { key, attributes }: EvaluationContext): string {
  return `"${revision}-${createHash('sha256').update(JSON.stringify([key, attributes])).digest('hex').slice(0, 16)}"`;
}
