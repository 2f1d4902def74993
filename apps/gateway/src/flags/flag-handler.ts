import { sendJson } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import { type HttpContext, readUserHeader } from '../http/http-context.ts';
import { askOne, type ClientAnswers } from './client-answers.ts';

/** Most flags that one request may ask for. */
const MAX_NAMES = 100;

/** GET /api/flags/{name}: whether a flag is on for the caller, and nothing else of it (SPEC F20). An unknown flag is off. */
export function createFlagHandler(answers: ClientAnswers) {
  return (http: HttpContext): void => answer(http, { enabled: isOn(answers, http, new URLSearchParams(http.query), http.name) });
}

/** GET /api/flags?name=…&name=…: the same of several flags. Only those that are named are answered. */
export function createFlagsHandler(answers: ClientAnswers) {
  return (http: HttpContext): void => {
    const query = new URLSearchParams(http.query);
    const names = new Set(query.getAll('name'));
    if (names.size === 0 || names.size > MAX_NAMES) throw errors.INVALID_REQUEST({ message: `Name 1 to ${MAX_NAMES} flags, each as name=….` }, { param: 'name' });
    answer(http, { flags: Object.fromEntries([...names].map((name) => [name, isOn(answers, http, query, name)])) });
  };
}

function isOn(answers: ClientAnswers, { request, requestId }: HttpContext, query: URLSearchParams, name: string): boolean {
  const key = readUserHeader(request.headers) ?? query.get('user') ?? undefined;
  return askOne(answers, name, { key, attributes: key === undefined ? {} : { user_id: key } }, { headers: request.headers, requestId }).enabled;
}

function answer({ response }: HttpContext, body: object): void {
  response.setHeader('cache-control', 'no-store');
  sendJson(response, 200, body);
}
