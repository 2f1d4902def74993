import { defineErrors } from '@mlx-serving/service-kit';

/** Every reason of the admin service's own; those of the services behind it are passed on. */
export const errors = defineErrors({
  TOKEN_MISSING: { code: 'UNAUTHENTICATED', message: 'Send the admin token: Authorization: Bearer <token>. It is in the file admin-token of the state directory.' },
  TOKEN_WRONG: { code: 'UNAUTHENTICATED', message: 'The admin token is not the right one.' },
  ROUTE_NOT_FOUND: { code: 'NOT_FOUND', message: 'There is no {method} {path}.' },
  BODY_INVALID: { code: 'INVALID_ARGUMENT', message: '{problem}' },
  BODY_TOO_LARGE: { code: 'INVALID_ARGUMENT', message: 'The body is larger than 64 KiB.' },
  IF_MATCH_INVALID: { code: 'INVALID_ARGUMENT', message: 'If-Match must be the ETag of a flag, such as "17".' },
  SERVICE_UNREACHABLE: { code: 'UNAVAILABLE', message: 'The {service} service cannot be reached. Nothing is known to have changed.' },
});
