import { sendJson } from '@mlx-serving/service-kit';
import { type HttpContext, readUserHeader } from '../http/http-context.ts';
import { askOne, type ClientAnswers } from './client-answers.ts';

/** GET /api/flags/{name}: whether a flag is on for the caller, and nothing else of it (SPEC F20). An unknown flag is off. */
export function createFlagHandler(answers: ClientAnswers) {
  return ({ request, response, query, name, requestId }: HttpContext): void => {
    const key = readUserHeader(request.headers) ?? query.get('user') ?? undefined;
    const { enabled } = askOne(answers, name, { key, attributes: key === undefined ? {} : { user_id: key } }, { headers: request.headers, requestId });
    response.setHeader('cache-control', 'no-store');
    sendJson(response, 200, { enabled });
  };
}
