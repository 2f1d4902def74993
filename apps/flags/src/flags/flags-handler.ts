import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Flags, Handlers, PropagationSchema } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';
import { toEmergencyMessage, toFlagMessage, toSnapshotMessage } from '../snapshot/flag-messages.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { Change, FlagsService, Proof } from './flags-service.ts';

const MAX_TEXT_LENGTH = 500;

/** The unary calls of the service Flags: read the request, do it, answer. */
export function createFlagsHandlers(service: FlagsService, live: LiveFlags): Omit<Handlers<typeof Flags>, 'link'> {
  return {
    listFlags: async () => {
      if (live.takenAtMs === undefined) throw errors.NOT_LOADED();
      return { snapshot: toSnapshotMessage(live) };
    },
    getFlag: async ({ name }) => ({ flag: toFlagMessage(service.get(name)) }),
    setFlag: async (request) => {
      const { flag, proof } = await service.set(request.name, request.definitionJson, { ...readChange(request), ifRevision: request.ifRevision });
      return { flag: toFlagMessage(flag), propagation: toPropagation(proof) };
    },
    killFlag: async (request) => ({ propagation: toPropagation(await service.kill(request.name, readChange(request))) }),
    reviveFlag: async (request) => ({ propagation: toPropagation(await service.revive(request.name, readChange(request))) }),
    setEmergency: async (request) => {
      const { killSwitch, rollbackToBaseline } = request;
      const { emergency, proof } = await service.setEmergency({ killSwitch, rollbackToBaseline, ...readChange(request) });
      return { emergency: toEmergencyMessage(emergency), propagation: toPropagation(proof) };
    },
    getFlagMetrics: async ({ name }) => service.decisions(name),
  };
}

function readChange({ actor, reason }: Change): Change {
  return { actor: actor.slice(0, MAX_TEXT_LENGTH), reason: reason.slice(0, MAX_TEXT_LENGTH) };
}

function toPropagation({ revision, acknowledged, missing }: Proof): MessageInitShape<typeof PropagationSchema> {
  return { revision, acknowledged, missing };
}
