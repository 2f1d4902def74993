import { sendJson } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import type { HttpContext } from '../http/http-context.ts';
import { askOne, type ClientAnswers, contextOf, readAsker } from './client-answers.ts';

/** Most flags that one request may ask for. */
const MAX_NAMES = 100;

/** GET /api/flags/{name}: whether a flag is on for the caller, and nothing else of it (SPEC F20). An unknown flag is off. */
export function createFlagHandler(answers: ClientAnswers) {
  return (http: HttpContext): void => {
    const isOn = asker(answers, http);
    answer(http, { enabled: isOn(http.name) });
  };
}

/** GET /api/flags?name=…&name=…: the same of several flags. Only those that are named are answered. */
export function createFlagsHandler(answers: ClientAnswers) {
  return (http: HttpContext): void => {
    const isOn = asker(answers, http);
    const names = new Set(new URLSearchParams(http.query).getAll('name'));
    if (names.size === 0 || names.size > MAX_NAMES) throw errors.INVALID_REQUEST({ message: `Name 1 to ${MAX_NAMES} flags, each as name=….` }, { param: 'name' });
    answer(http, { flags: Object.fromEntries([...names].map((name) => [name, isOn(name)])) });
  };
}

/** Asks for the user of the header that the routing names, else of `?user=`. @throws API_KEY_MISSING or API_KEY_WRONG */
function asker(answers: ClientAnswers, http: HttpContext): (name: string) => boolean {
  const { request, query, requestId } = http;
  const caller = readAsker(answers, http);
  const context = contextOf(caller, caller.user(undefined) ?? (new URLSearchParams(query).get('user') || undefined));
  return (name) => askOne(answers, name, context, { headers: request.headers, requestId }).enabled;
}

function answer({ response }: HttpContext, body: object): void {
  response.setHeader('cache-control', 'no-store');
  sendJson(response, 200, body);
}
