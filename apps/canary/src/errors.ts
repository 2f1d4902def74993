import { defineErrors } from '@mlx-serving/service-kit';

/** Every reason that this service answers with. */
export const errors = defineErrors({
  HELLO_MISSING: { code: 'FAILED_PRECONDITION', message: 'The first message of a link must be a hello.' },
  REPLICA_ID_INVALID: { code: 'INVALID_ARGUMENT', message: 'A replica id has 1 to 128 characters.' },
});
