import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Flags, Handlers, PendingChangeSchema, PropagationSchema } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';
import type { KillService } from '../kill/kill-service.ts';
import { toEmergencyMessage, toFlagMessage, toSnapshotMessage } from '../snapshot/flag-messages.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { Change, Outcome, PendingChange, Proof } from './flag-change.ts';
import type { FlagsService } from './flags-service.ts';
import type { HistoryService } from '../audit/history-service.ts';

const MAX_TEXT_LENGTH = 500;

type Calls = 'listFlags' | 'getFlag' | 'setFlag' | 'patchFlag' | 'deleteFlag' | 'revertFlag' | 'killFlag' | 'reviveFlag' | 'setEmergency' | 'getFlagMetrics';

export interface FlagsHandlerOptions {
  readonly service: FlagsService;
  readonly kills: KillService;
  readonly history: HistoryService;
  readonly live: LiveFlags;
}

/** The unary calls about flags: read the request, do it, answer. */
export function createFlagsHandlers({ service, kills, history, live }: FlagsHandlerOptions): Pick<Handlers<typeof Flags>, Calls> {
  return {
    listFlags: async () => {
      if (live.takenAtMs === undefined) throw errors.NOT_LOADED();
      return { snapshot: toSnapshotMessage(live) };
    },
    getFlag: async ({ name }) => ({ flag: toFlagMessage(service.get(name)) }),
    setFlag: async (request) => toAnswer(await service.set(request.name, request.definitionJson, { ...readChange(request), ifRevision: request.ifRevision })),
    patchFlag: async (request) => toAnswer(await service.patch(request.name, request.patchJson, { ...readChange(request), ifRevision: request.ifRevision })),
    deleteFlag: async (request) => toAnswer(await service.delete(request.name, { ...readChange(request), ifRevision: request.ifRevision })),
    revertFlag: async (request) => toAnswer(await history.revert(request.name, request.revision, readChange(request))),
    killFlag: async (request) => ({ propagation: toPropagation(await kills.kill(request.name, readChange(request))) }),
    reviveFlag: async (request) => ({ propagation: toPropagation(await kills.revive(request.name, readChange(request))) }),
    setEmergency: async (request) => {
      const { killSwitch, rollbackToBaseline } = request;
      const { emergency, proof } = await kills.setEmergency({ killSwitch, rollbackToBaseline }, readChange(request));
      return { emergency: toEmergencyMessage(emergency), propagation: toPropagation(proof) };
    },
    getFlagMetrics: async ({ name }) => service.decisions(name),
  };
}

export function readChange({ actor, reason }: Change): Change {
  return { actor: actor.slice(0, MAX_TEXT_LENGTH), reason: reason.slice(0, MAX_TEXT_LENGTH) };
}

export function toPropagation({ revision, acknowledged, missing, durable }: Proof): MessageInitShape<typeof PropagationSchema> {
  return { revision, acknowledged, missing, durable };
}

export function toPendingMessage({ revision: _, atMs, approvedBy, why, ...change }: PendingChange): MessageInitShape<typeof PendingChangeSchema> {
  return { ...change, atMs: BigInt(atMs), why: approvedBy === undefined ? why : `${why} Approved by ${approvedBy}, but not carried out.` };
}

function toAnswer(outcome: Outcome) {
  if ('pending' in outcome) return { pending: toPendingMessage(outcome.pending) };
  const propagation = toPropagation(outcome.proof);
  return outcome.flag ? { flag: toFlagMessage(outcome.flag), propagation } : { propagation };
}
