import { defineErrors } from '@mlx-serving/service-kit';

/** Every reason that this service answers with, besides those that a worker gives. */
export const errors = defineErrors({
  INVALID_REQUEST: { code: 'INVALID_ARGUMENT', message: '{message}' },
  UNKNOWN_PARAMETER: { code: 'INVALID_ARGUMENT', message: 'Unrecognized request argument{plural} supplied: {names}' },
  UNSUPPORTED_VALUE: { code: 'INVALID_ARGUMENT', message: "'{param}' is not supported: {message}" },
  BODY_NOT_JSON: {
    code: 'INVALID_ARGUMENT',
    message: 'We could not parse the JSON body of your request. The API expects a JSON object in the body, sent with the header content-type: application/json.',
  },
  BODY_TOO_LARGE: { code: 'INVALID_ARGUMENT', message: 'The request body is larger than {limit} bytes.' },
  BODY_TOO_DEEP: { code: 'INVALID_ARGUMENT', message: 'The request body has more than {limit} levels of objects and arrays.' },
  UNSUPPORTED_MEDIA_TYPE: { code: 'INVALID_ARGUMENT', message: "Unsupported content type '{type}': this API takes application/json." },
  UNKNOWN_URL: { code: 'NOT_FOUND', message: 'Invalid URL ({method} {path})' },
  METHOD_NOT_ALLOWED: { code: 'INVALID_ARGUMENT', message: 'Not allowed to {method} on {path} (HINT: use {allow})' },
  MODEL_NOT_FOUND: { code: 'NOT_FOUND', message: "The model '{model}' does not exist or you do not have access to it." },
  QUEUE_FULL: { code: 'RESOURCE_EXHAUSTED', message: 'Too many requests wait already ({queued}). Try again in {seconds} s.' },
  REQUEST_TIMEOUT: { code: 'DEADLINE_EXCEEDED', message: 'The request took longer than {timeout} ms and was ended.' },
  WORKER_TIMEOUT: { code: 'DEADLINE_EXCEEDED', message: 'The request took longer than its deadline and was ended.' },
  NO_WORKER: { code: 'UNAVAILABLE', message: 'No worker is ready to serve this request. Try again in a moment.' },
  LOAD_SHED: { code: 'RESOURCE_EXHAUSTED', message: 'The system has too much to do and takes fewer requests for the moment. Try again in {seconds} s.' },
  DEADLINE_UNREACHABLE: { code: 'UNAVAILABLE', message: 'The request would wait about {seconds} s, longer than its deadline of {deadline} ms leaves. Try again later.' },
  WORKER_LOST: { code: 'UNAVAILABLE', message: 'The worker that served this request is gone. Try again.' },
  WORKER_PROTOCOL: { code: 'INTERNAL', message: 'The worker ended the request without a result.' },
  JOIN_DENIED: { code: 'PERMISSION_DENIED', message: 'This worker may not join: its token is wrong, or it has none and is on another machine.' },
  JOIN_INVALID: { code: 'INVALID_ARGUMENT', message: 'A worker joins with one address, host:port, and one variant, baseline or canary.' },
  JOIN_TOO_MANY: { code: 'RESOURCE_EXHAUSTED', message: 'So many workers have joined that no other one may.' },
  FEATURE_KILLED: { code: 'UNAVAILABLE', message: 'A feature that this request ran under was turned off. Try again.' },
  CANARY_TAKEN_BACK: { code: 'CANCELLED', message: 'The canary was taken back. Try again.' },
  CLIENT_GONE: { code: 'CANCELLED', message: 'The client went away.' },
  SHUTTING_DOWN: { code: 'UNAVAILABLE', message: 'The gateway is shutting down. Try again.' },
});
