import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import type { FlagsLinkRequest, FlagsLinkResponse } from '@mlx-serving/contracts';
import { ReplicaRegistry } from '@mlx-serving/service-kit';
import type { FlagReplicas } from '../link/link-handler.ts';
import { FlagPeers } from './flag-peers.ts';

/** Two flag services that hear each other as long as the test lets them. */
function service(id: string, heard: () => readonly FlagPeers[]): { peers: FlagPeers; replicas: FlagReplicas } {
  const replicas: FlagReplicas = new ReplicaRegistry<FlagsLinkRequest, FlagsLinkResponse>();
  const peers = new FlagPeers({ id, replicas, live: { storeRevisionOf: (revision: bigint) => revision }, store: { tellPeers: (text: string) => heard().forEach((peer) => peer.receive(text)) } });
  return { peers, replicas };
}

describe('F19: what flag services tell each other', () => {
  it('is also what a gateway acknowledged before they had heard of each other, and no more once it links anew', async () => {
    let all: FlagPeers[] = [];
    const [near, far] = [service('near', () => all), service('far', () => all)];
    const link = (): void => far.replicas.add('gateway-far', Object.assign(new EventEmitter(), { end: () => undefined }) as never);
    link();
    far.replicas.acknowledge('gateway-far', 7n);
    far.peers.acknowledged('gateway-far', 7n);
    all = [near.peers, far.peers];
    far.peers.announce();
    expect((await near.peers.propagation(7n, performance.now(), 0)).acknowledged).toMatchObject([{ replicaId: 'gateway-far' }]);
    expect((await near.peers.propagation(8n, performance.now(), 0)).missing).toEqual(['gateway-far']);
    link();
    far.peers.announce();
    expect((await near.peers.propagation(7n, performance.now(), 0)).missing).toEqual(['gateway-far']);
  });
});
