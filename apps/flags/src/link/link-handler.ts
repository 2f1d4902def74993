import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { FlagsHello, FlagsLinkRequest, FlagsLinkResponse } from '@mlx-serving/contracts';
import type { Logger, ReplicaRegistry } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import { snapshotDirective } from '../snapshot/flag-messages.ts';
import type { ImpactService } from '../impact/impact-service.ts';
import type { FlagPeers } from '../peers/flag-peers.ts';
import type { KeyService } from '../keys/key-service.ts';
import type { SpendingService } from '../keys/spending-service.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { RolloutJudge } from '../rollout/rollout-judge.ts';
import type { DecisionCounter } from '../usage/decision-counter.ts';

export type FlagsLink = ServerDuplexStream<FlagsLinkRequest, FlagsLinkResponse>;
export type FlagReplicas = ReplicaRegistry<FlagsLinkRequest, FlagsLinkResponse>;

const MAX_REPLICA_ID_LENGTH = 128;

export interface LinkHandlerOptions {
  readonly live: LiveFlags;
  readonly replicas: FlagReplicas;
  readonly counter: DecisionCounter;
  readonly peers: Pick<FlagPeers, 'announce' | 'acknowledged'>;
  readonly impact: Pick<ImpactService, 'answer'>;
  readonly keys: Pick<KeyService, 'directive'>;
  readonly spending: Pick<SpendingService, 'take'>;
  /** What a gateway is told besides the flags. */
  readonly greetings: () => readonly FlagsLinkResponse[];
  readonly judge: Pick<RolloutJudge, 'observe'>;
  readonly logger: Logger;
  /** Called with the number of linked gateways whenever it may have changed. */
  readonly onLinks: (count: number) => void;
}

/**
 * The server's end of a gateway's link: a hello is answered with everything, each change follows as a delta.
 * A gateway that links before the first read of the store gets everything as soon as there is something.
 */
export function createLinkHandler({ live, replicas, counter, peers, impact, keys, spending, greetings, judge, logger, onLinks }: LinkHandlerOptions): (call: FlagsLink) => Promise<void> {
  const sendAll = (call: FlagsLink): void => {
    if (live.takenAtMs !== undefined) {
      call.write(snapshotDirective(live));
      call.write(keys.directive());
    }
    for (const greeting of greetings()) call.write(greeting);
  };

  return (call) =>
    new Promise((resolve, reject) => {
      let replicaId: string | undefined;
      const greet = (hello: FlagsHello): void => {
        if (hello.replicaId === '' || hello.replicaId.length > MAX_REPLICA_ID_LENGTH) return reject(errors.REPLICA_ID_MISSING());
        replicaId = hello.replicaId;
        replicas.add(replicaId, call);
        logger.info({ replica: replicaId, linked: replicas.ids.length }, 'a gateway linked');
        onLinks(replicas.ids.length);
        peers.announce();
        sendAll(call);
      };
      call.on('data', ({ message }: FlagsLinkRequest) => {
        if (replicaId === undefined) {
          if (message.case === 'hello') greet(message.value);
          else reject(errors.REPLICA_ID_MISSING());
        } else if (message.case === 'acknowledgement') {
          replicas.acknowledge(replicaId, message.value.revision);
          peers.acknowledged(replicaId, message.value.revision);
        } else if (message.case === 'impactAnswer') impact.answer(replicaId, message.value);
        else if (message.case === 'apiKeyUsage') void spending.take(replicaId, message.value);
        else if (message.case === 'watchedReports') message.value.reports.forEach((report) => judge.observe(report));
        else if (message.case === 'resync') sendAll(call);
        else if (message.case === 'decisionCounts') message.value.counts.forEach(({ flag, enabled, disabled }) => counter.add(flag, { enabled, disabled }));
      });
      call.once('end', () => call.end());
      for (const event of ['end', 'cancelled', 'error'] as const) call.once(event, () => resolve());
      call.once('close', () => {
        if (replicaId === undefined) return;
        logger.info({ replica: replicaId, linked: replicas.ids.length }, 'a link of a gateway ended');
        onLinks(replicas.ids.length);
        peers.announce();
      });
    });
}
