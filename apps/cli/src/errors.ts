import { defineErrors } from '@mlx-serving/service-kit';

/** Every reason of the command's own; those of the services are shown as they are. */
export const errors = defineErrors({
  USAGE: { code: 'INVALID_ARGUMENT', message: '{problem} See --help.' },
  TOKEN_UNREADABLE: { code: 'UNAUTHENTICATED', message: 'The admin token cannot be read from {file}. Is the system running?' },
  UNREACHABLE: { code: 'UNAVAILABLE', message: '{url} cannot be reached. Is the system running?' },
  REFUSED: { code: 'FAILED_PRECONDITION', message: '{message}' },
  CHECK_FAILED: { code: 'FAILED_PRECONDITION', message: '{problem} Use --force to go on anyway.' },
});
