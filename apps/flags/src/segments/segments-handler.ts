import type { Flags, Handlers } from '@mlx-serving/contracts';
import { readChange, toPropagation } from '../flags/flags-handler.ts';
import { toSegmentMessage } from '../snapshot/flag-messages.ts';
import type { ImportService } from './import-service.ts';
import type { SegmentsService } from './segments-service.ts';

/** The calls about segments, and the import of flags with their segments. */
export function createSegmentsHandlers(segments: SegmentsService, imports: ImportService): Pick<Handlers<typeof Flags>, 'setSegment' | 'deleteSegment' | 'importFlags'> {
  return {
    setSegment: async (request) => {
      const { segment, proof } = await segments.set(request.name, request.definitionJson, { ...readChange(request), ifRevision: request.ifRevision });
      return { segment: toSegmentMessage(segment), propagation: toPropagation(proof) };
    },
    deleteSegment: async (request) => ({ propagation: toPropagation(await segments.delete(request.name, { ...readChange(request), ifRevision: request.ifRevision })) }),
    importFlags: async (request) => ({ results: await imports.run(request.documentJson, readChange(request), request.dryRun) }),
  };
}
