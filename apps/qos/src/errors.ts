import { defineErrors } from '@mlx-serving/service-kit';

/** Every reason that this service answers with. */
export const errors = defineErrors({
  ACTION_NOT_FOUND: { code: 'NOT_FOUND', message: "There is no action '{id}', or it is forgotten." },
  POLICY_INVALID: { code: 'INVALID_ARGUMENT', message: 'The policy is none: {problems}' },
  HELLO_MISSING: { code: 'FAILED_PRECONDITION', message: 'The first message of a link must be a hello.' },
  HELLO_REPEATED: { code: 'FAILED_PRECONDITION', message: 'A link has one hello.' },
  REPLICA_ID_INVALID: { code: 'INVALID_ARGUMENT', message: 'A replica id has 1 to 128 characters.' },
});
