import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type ApiKeyUsage, type Flags, type FlagsLinkRequest, FlagsLinkRequestSchema, type FlagsLinkResponse, type FlagSnapshotSchema, type Impact, type ImpactQuestion, type ServiceClient, type StreamReport } from '@mlx-serving/contracts';
import { Link, type Logger } from '@mlx-serving/service-kit';
import type { DecisionCounter } from '../decision/decision-counts.ts';
import type { FlagSnapshotStore } from '../decision/flag-snapshot-store.ts';
import type { FlagTelemetry } from '../telemetry/flag-telemetry.ts';
import type { Tenants } from '../tenants/tenants.ts';
import type { StateFile } from '../decision/state-file.ts';
import { WatchedReports } from './watched-reports.ts';

export interface FlagsLinkOptions {
  readonly client: ServiceClient<typeof Flags>;
  readonly replicaId: string;
  readonly store: FlagSnapshotStore;
  readonly file: StateFile<typeof FlagSnapshotSchema>;
  readonly counts: DecisionCounter;
  readonly telemetry: Pick<FlagTelemetry, 'use' | 'count'>;
  readonly keys: Pick<Tenants, 'applyKeys' | 'settle'>;
  readonly onApplied: (revision: bigint) => void;
  /** What a draft would change for the contexts seen lately. */
  readonly preview: (question: ImpactQuestion) => Promise<Impact>;
  readonly logger: Logger;
}

const COUNTS_INTERVAL_MS = 1_000;

/** The link to the flag service: snapshots and deltas come down; acknowledgements and decision counts go up. */
export class FlagsLink {
  readonly #options: FlagsLinkOptions;
  readonly #link: Link<FlagsLinkRequest, FlagsLinkResponse>;
  readonly #reports = new WatchedReports((reports) => this.#link.send(up({ case: 'watchedReports', value: { reports } })));
  #timer: NodeJS.Timeout | undefined;
  /** What the link did not take yet: repeated with the next counts. */
  #owesAcknowledgement = false;
  #owesResync = false;

  constructor(options: FlagsLinkOptions) {
    this.#options = options;
    this.#link = new Link({
      name: 'flags',
      open: () => options.client.link(),
      hello: () => up({ case: 'hello', value: { replicaId: options.replicaId, revision: options.store.state.revision } }),
      onMessage: (message) => this.#receive(message),
      logger: options.logger,
    });
  }

  get connected(): boolean {
    return this.#link.connected;
  }

  start(): void {
    this.#link.start();
    this.#timer = setInterval(() => this.#tick(), COUNTS_INTERVAL_MS);
  }

  /** One finished request, which goes up when a flag that is rolled out in stages has split it. */
  report(report: StreamReport, flagKey: string): void {
    this.#reports.add(report, flagKey);
  }

  /** Lets what waits go up, then ends the link. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#reports.stop();
    this.#tick();
    await this.#link.close();
  }

  #receive({ message }: FlagsLinkResponse): void {
    const { store, telemetry } = this.#options;
    if (message.case === 'snapshot') {
      this.#owesResync = false;
      store.apply(message.value);
    } else if (message.case === 'delta') {
      if (this.#owesResync) return;
      if (!store.applyDelta(message.value, Date.now())) return this.#resync();
    } else if (message.case === 'observability') return telemetry.use(message.value);
    else if (message.case === 'apiKeys') return this.#options.keys.applyKeys(message.value);
    else if (message.case === 'apiKeyBalances') return this.#options.keys.settle(message.value);
    else if (message.case === 'watchedFlags') return this.#reports.watch(message.value.flags);
    else if (message.case === 'impactQuestion') return void this.#preview(message.value);
    else return;
    this.#options.onApplied(store.state.revision);
    this.#acknowledge();
    this.#options.file.save(() => store.toSnapshot());
  }

  /** What keys have spent. @returns false when the link did not take it */
  sendUsage(usage: ApiKeyUsage): boolean {
    return this.#link.send(up({ case: 'apiKeyUsage', value: usage }));
  }

  async #preview(question: ImpactQuestion): Promise<void> {
    const { preview, logger } = this.#options;
    try {
      this.#link.send(up({ case: 'impactAnswer', value: { id: question.id, impact: await preview(question) } }));
    } catch (error) {
      logger.warn({ err: error, flag: question.flag }, 'a draft of a flag cannot be previewed');
    }
  }

  #tick(): void {
    if (this.#owesResync) this.#resync();
    if (this.#owesAcknowledgement) this.#acknowledge();
    const { counts: waiting, telemetry } = this.#options;
    waiting.flush((counts) => {
      const taken = this.#link.send(up({ case: 'decisionCounts', value: counts }));
      if (taken) telemetry.count(counts);
      return taken;
    });
  }

  #acknowledge(): void {
    this.#owesAcknowledgement = !this.#link.send(up({ case: 'acknowledgement', value: { revision: this.#options.store.state.revision } }));
  }

  /** A change was missed: deltas are of no use until the whole has come. */
  #resync(): void {
    this.#owesResync = true;
    this.#link.send(up({ case: 'resync', value: {} }));
  }
}

function up(message: NonNullable<MessageInitShape<typeof FlagsLinkRequestSchema>['message']>): FlagsLinkRequest {
  return create(FlagsLinkRequestSchema, { message });
}
