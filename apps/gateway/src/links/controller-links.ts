import type { Canary, Flags, FlagSnapshotSchema, Impact, ImpactQuestion, Qos, RoutingTableSchema, ServiceClient, StreamReport } from '@mlx-serving/contracts';
import type { Logger } from '@mlx-serving/service-kit';
import type { TrafficControl } from '../admission/traffic-control.ts';
import type { DecisionCounter } from '../decision/decision-counts.ts';
import type { FlagSnapshotStore } from '../decision/flag-snapshot-store.ts';
import type { RoutingStore } from '../decision/routing-store.ts';
import type { StateFile } from '../decision/state-file.ts';
import type { Tenants } from '../tenants/tenants.ts';
import type { GatewayMetrics } from '../metrics.ts';
import type { FlagTelemetry } from '../telemetry/flag-telemetry.ts';
import { encodeReport } from '../reports/encode-report.ts';
import { CanaryLink } from './canary-link.ts';
import { FlagsLink } from './flags-link.ts';
import { QosLink } from './qos-link.ts';

export interface ControllerLinksOptions {
  readonly replicaId: string;
  readonly flags: FlagSnapshotStore;
  readonly flagsFile: StateFile<typeof FlagSnapshotSchema>;
  readonly routing: RoutingStore;
  readonly routingFile: StateFile<typeof RoutingTableSchema>;
  /** Addresses of the canary's workers now. */
  readonly canaryWorkers: () => readonly string[];
  readonly counts: DecisionCounter;
  readonly telemetry: FlagTelemetry;
  readonly keys: Tenants;
  readonly preview: (question: ImpactQuestion) => Promise<Impact>;
  readonly control: TrafficControl;
  readonly clients: { flags: ServiceClient<typeof Flags>; qos: ServiceClient<typeof Qos>; canary: ServiceClient<typeof Canary> };
  readonly metrics: GatewayMetrics;
  readonly logger: Logger;
}

/** The three links to the controllers, and what they left on disk. */
export class ControllerLinks {
  readonly #options: ControllerLinksOptions;
  readonly #links: { flags: FlagsLink; qos: QosLink; canary: CanaryLink };
  #gauges: NodeJS.Timeout | undefined;

  constructor(options: ControllerLinksOptions) {
    this.#options = options;
    const { clients, replicaId, metrics, logger } = options;
    this.#links = {
      flags: new FlagsLink({ ...options, client: clients.flags, store: options.flags, file: options.flagsFile, onApplied: (revision) => this.#appliedFlags(revision) }),
      qos: new QosLink({ client: clients.qos, replicaId, control: options.control, onDropped: (count) => metrics.droppedReports.inc({ link: 'qos' }, count), logger }),
      canary: new CanaryLink({
        ...options,
        client: clients.canary,
        store: options.routing,
        file: options.routingFile,
        onApplied: (revision) => this.#appliedRouting(revision),
        onDropped: (count) => metrics.droppedReports.inc({ link: 'canary' }, count),
      }),
    };
  }

  get up(): Record<string, boolean> {
    return Object.fromEntries(Object.entries(this.#links).map(([name, link]) => [name, link.connected]));
  }

  /** Takes up what was in force when the gateway stopped, so that it decides before a link is up. */
  async loadKept(): Promise<void> {
    const { flags, flagsFile, routing, routingFile, logger } = this.#options;
    const snapshot = await flagsFile.load();
    if (snapshot) {
      flags.apply(snapshot);
      this.#appliedFlags(snapshot.revision);
      logger.info({ revision: String(snapshot.revision), ageMs: flags.ageMs(Date.now()) }, 'flags taken from the kept snapshot');
    }
    await this.#options.keys.loadKept();
    routing.table = await routingFile.load();
    this.#appliedRouting(routing.table?.revision ?? 0n);
  }

  start(): void {
    for (const link of Object.values(this.#links)) link.start();
    this.#options.keys.start((usage) => this.#links.flags.sendUsage(usage));
    this.#gauges = setInterval(() => this.#showLinks(), 1_000);
    this.#showLinks();
  }

  async stop(): Promise<void> {
    clearInterval(this.#gauges);
    this.#options.keys.stop();
    await Promise.all(Object.values(this.#links).map((link) => link.stop()));
    await Promise.all([this.#options.flagsFile.settled(), this.#options.routingFile.settled(), this.#options.keys.settled()]);
    for (const client of Object.values(this.#options.clients)) client.close();
  }

  /** One finished request, for every controller. */
  report(report: StreamReport, flagKey: string): void {
    this.#links.flags.report(report, flagKey);
    const encoded = encodeReport(report);
    this.#links.qos.report(encoded);
    this.#links.canary.report(encoded);
  }

  /** A request that was repeated at the canary: no user saw it, so qos does not count it. */
  reportShadow(report: StreamReport): void {
    this.#links.canary.report(encodeReport(report));
  }

  #appliedFlags(revision: bigint): void {
    this.#options.metrics.flagsRevision.set(Number(revision));
  }

  #appliedRouting(revision: bigint): void {
    this.#options.metrics.routingRevision.set(Number(revision));
  }

  #showLinks(): void {
    const { metrics, routing } = this.#options;
    for (const [link, up] of Object.entries(this.up)) metrics.linksUp.set({ link }, up ? 1 : 0);
    metrics.routingLeaseEnded.set(routing.leaseEnded ? 1 : 0);
    const { hits, misses } = routing.places.takeCounts();
    metrics.routingCache.inc({ result: 'hit' }, hits);
    metrics.routingCache.inc({ result: 'miss' }, misses);
  }
}
