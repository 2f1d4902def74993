import { defineErrors } from '@mlx-serving/service-kit';

/** Every reason of the admin service's own; those of the services behind it are passed on. */
export const errors = defineErrors({
  TOKEN_MISSING: { code: 'UNAUTHENTICATED', message: 'Send the admin token: Authorization: Bearer <token>. It is in the file admin-token of the state directory.' },
  TOKEN_WRONG: { code: 'UNAUTHENTICATED', message: 'The admin token is not the right one.' },
  ROLE_MISSING: { code: 'PERMISSION_DENIED', message: 'This needs the role {needed}; the token has the role {role}.' },
  MOMENT_INVALID: { code: 'INVALID_ARGUMENT', message: '{problem}' },
  SEGMENT_UNKNOWN: { code: 'NOT_FOUND', message: 'There is no segment {name}.' },
  ROUTE_NOT_FOUND: { code: 'NOT_FOUND', message: 'There is no {method} {path}.' },
  BODY_INVALID: { code: 'INVALID_ARGUMENT', message: '{problem}' },
  BODY_TOO_LARGE: { code: 'INVALID_ARGUMENT', message: 'The body is too large: 64 KiB, for an import 3 MiB, is the most.' },
  IF_MATCH_INVALID: { code: 'INVALID_ARGUMENT', message: 'If-Match must be the ETag of a flag or a segment, such as "17".' },
  ENGINE_REFUSED: { code: 'FAILED_PRECONDITION', message: 'The canary is {status}.' },
  SERVICE_UNREACHABLE: { code: 'UNAVAILABLE', message: 'The {service} service cannot be reached. Nothing is known to have changed.' },
});
