import { defineErrors } from '@mlx-serving/service-kit';

/** Every reason that this service answers with. */
export const errors = defineErrors({
  HELLO_MISSING: { code: 'FAILED_PRECONDITION', message: 'The first message of a link must be a hello.' },
  HELLO_REPEATED: { code: 'FAILED_PRECONDITION', message: 'A link has one hello.' },
  REPLICA_ID_INVALID: { code: 'INVALID_ARGUMENT', message: 'A replica id has 1 to 128 characters.' },
  NOT_ACTING: { code: 'UNAVAILABLE', message: 'Another replica of this service acts; ask that one.' },
  ROLLOUT_UNKNOWN: { code: 'UNAVAILABLE', message: 'The kept rollout could not be read yet, so the canary gets nothing; it can only be rolled back or aborted. Ask again when Redis answers.' },
  ACTION_MISSING: { code: 'INVALID_ARGUMENT', message: 'The request names no action.' },
  WRONG_PHASE: { code: 'FAILED_PRECONDITION', message: 'A rollout that is {phase} cannot {action}.' },
  STAGES_INVALID: { code: 'INVALID_ARGUMENT', message: 'Stages are at most 20 shares of 0 to 100 in steps of 0.001, each greater than the one before.' },
  CANARY_NOT_READY: { code: 'FAILED_PRECONDITION', message: 'The canary can get no traffic: {reason}. Use force to go on anyway.' },
  WEBHOOK_REFUSED: { code: 'FAILED_PRECONDITION', message: 'A webhook refuses the step, or cannot be asked: {url}. Use force to go on anyway.' },
  COOLING_DOWN: { code: 'FAILED_PRECONDITION', message: 'A rollback was not long ago: {seconds} s of the cooldown are left. Use force to go on anyway.' },
});
