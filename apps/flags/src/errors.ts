import { defineErrors } from '@mlx-serving/service-kit';

/** Every reason that the flag service gives. */
export const errors = defineErrors({
  FLAG_NOT_FOUND: { code: 'NOT_FOUND', message: 'There is no flag {name}.' },
  FLAG_INVALID: { code: 'INVALID_ARGUMENT', message: '{problem}' },
  REVISION_MISMATCH: { code: 'ABORTED', message: 'The flag {name} is at revision {actual}, not the one you named: somebody else changed it. Read it again and repeat the change.' },
  WRITE_CONTENDED: { code: 'ABORTED', message: 'The flag {name} kept changing during the write; nothing was written. Try again.' },
  STORE_UNREACHABLE: { code: 'UNAVAILABLE', message: 'The flag store (Redis) cannot be reached. A change that was asked for is not confirmed; the last known flags stay in force.' },
  NOT_LOADED: { code: 'UNAVAILABLE', message: 'The flags have not been read from Redis yet.' },
  REPLICA_ID_MISSING: { code: 'INVALID_ARGUMENT', message: 'The first message of a link is a hello with a replica_id.' },
  EMERGENCY_EMPTY: { code: 'INVALID_ARGUMENT', message: 'Give kill_switch or rollback_to_baseline.' },
});
