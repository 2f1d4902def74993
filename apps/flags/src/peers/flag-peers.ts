import { z } from 'zod';
import { AcknowledgementWait, type PropagationProof } from '@mlx-serving/service-kit';
import type { FlagReplicas } from '../link/link-handler.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { FlagStore } from '../store/flag-store.ts';
import { readText } from '../store/read-text.ts';

const PRESENCE_MS = 1_000;
/** A flag service that was not heard of for so long is gone, in milliseconds. */
const GONE_AFTER_MS = 5_000;
const MAX_PEERS = 64;

const message = z.object({
  from: z.string().max(128),
  /** Ids of the gateways that are linked to it; with the word that it stops, none. */
  gateways: z.array(z.string().max(128)).max(10_000).optional(),
  stops: z.boolean().optional(),
  /** The revision of the store that each gateway has acknowledged. */
  acknowledged: z.record(z.string(), z.string().regex(/^\d{1,18}$/)).optional(),
});

interface Peer {
  heardAtMs: number;
  gateways: readonly string[];
  readonly acknowledged: Map<string, bigint>;
}

export interface FlagPeersOptions {
  /** How the others know this flag service. */
  readonly id: string;
  readonly store: Pick<FlagStore, 'tellPeers'>;
  readonly live: Pick<LiveFlags, 'storeRevisionOf'>;
  readonly replicas: Pick<FlagReplicas, 'ids' | 'acknowledgements' | 'remember' | 'forget'>;
  readonly now?: () => number;
}

/**
 * The other flag services on the same store. Each tells the others which gateways are linked to it and what they have
 * acknowledged, through the store's pub/sub, so that the proof of a kill covers every gateway.
 */
export class FlagPeers {
  readonly #options: FlagPeersOptions;
  readonly #now: () => number;
  readonly #peers = new Map<string, Peer>();
  readonly #wait = new AcknowledgementWait();
  #toTell: Record<string, string> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** When this service last heard itself: while the store is away nobody is heard, and nobody is gone for that. */
  #heardSelfAtMs = 0;

  constructor(options: FlagPeersOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.announce(), PRESENCE_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#tell({ stops: true });
  }

  /** Tells the others which gateways are linked here and what each has acknowledged: who was not heard then, or did not hear, knows it now. */
  announce(): void {
    const { replicas, live } = this.#options;
    const acknowledged = Object.fromEntries([...replicas.acknowledgements].map(([gateway, revision]) => [gateway, String(live.storeRevisionOf(revision))]));
    this.#tell({ gateways: replicas.ids, acknowledged });
  }

  /** A gateway that is linked here has acknowledged a revision. What comes at once is told at once. */
  acknowledged(gateway: string, revision: bigint): void {
    if (this.#peers.size === 0) return;
    if (!this.#toTell) {
      this.#toTell = {};
      setImmediate(() => {
        const acknowledged = this.#toTell;
        this.#toTell = undefined;
        this.#tell({ acknowledged });
      });
    }
    this.#toTell[gateway] = String(this.#options.live.storeRevisionOf(revision));
  }

  receive(text: string): void {
    const said = readText(message, text);
    if (!said) return;
    const { from, gateways, acknowledged, stops } = said;
    const now = this.#now();
    if (from === this.#options.id) this.#heardSelfAtMs = now;
    else if (stops) this.#lose(from);
    else {
      const peer = this.#peerOf(from);
      if (!peer) return;
      peer.heardAtMs = now;
      if (gateways) peer.gateways = gateways;
      // Everything that it knows: one that has linked anew has acknowledged nothing yet.
      if (gateways && acknowledged) peer.acknowledged.clear();
      this.#options.replicas.forget(peer.gateways);
      for (const [gateway, revision] of Object.entries(acknowledged ?? {})) peer.acknowledged.set(gateway, BigInt(revision));
    }
    this.#wait.heard();
  }

  /** Gateways that are linked to another flag service and not to this one. */
  gatewaysElsewhere(): string[] {
    for (const [id, { heardAtMs }] of this.#peers) if (this.#heardSelfAtMs - heardAtMs > GONE_AFTER_MS) this.#lose(id);
    const here = new Set(this.#options.replicas.ids);
    return [...new Set([...this.#peers.values()].flatMap(({ gateways }) => gateways))].filter((id) => !here.has(id)).sort();
  }

  /** Waits until the gateways elsewhere have acknowledged a revision of the store, or the time is over. */
  propagation(storeRevision: bigint, startedAt: number, timeoutMs: number): Promise<PropagationProof> {
    return this.#wait.prove({ expected: this.gatewaysElsewhere(), hasAcknowledged: (id) => this.#hasAcknowledged(id, storeRevision), startedAt, timeoutMs });
  }

  /** Its gateways live on, and nobody reaches them until they link again. */
  #lose(id: string): void {
    this.#options.replicas.remember(this.#peers.get(id)?.gateways ?? []);
    this.#peers.delete(id);
  }

  #hasAcknowledged(gateway: string, revision: bigint): boolean {
    return [...this.#peers.values()].some((peer) => (peer.acknowledged.get(gateway) ?? -1n) >= revision);
  }

  #peerOf(id: string): Peer | undefined {
    let peer = this.#peers.get(id);
    if (!peer && this.#peers.size < MAX_PEERS) {
      peer = { heardAtMs: 0, gateways: [], acknowledged: new Map() };
      this.#peers.set(id, peer);
      this.announce();
    }
    return peer;
  }

  #tell(what: Omit<z.input<typeof message>, 'from'>): void {
    this.#options.store.tellPeers(JSON.stringify({ from: this.#options.id, ...what }));
  }
}
