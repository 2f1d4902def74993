import type { StreamReportBatch } from '@mlx-serving/contracts';
import { Link, type LinkOptions, ReportBuffer } from '@mlx-serving/service-kit';
import { encodedBatch, type EncodedReport } from '../reports/encode-report.ts';

export interface ReportingLinkOptions<Up, Down> extends Omit<LinkOptions<Up, Down>, 'onConnected'> {
  /** The message that carries a batch up. */
  readonly reports: (batch: StreamReportBatch) => Up;
  /** Called with each batch that was taken: how many reports were dropped before it. */
  readonly onDropped: (count: number) => void;
}

/** A link on which reports go up: what cannot be sent now waits, within bounds, until the link is back. */
export class ReportingLink<Up, Down> {
  readonly #link: Link<Up, Down>;
  readonly #buffer: ReportBuffer<EncodedReport>;

  constructor({ reports, onDropped, ...options }: ReportingLinkOptions<Up, Down>) {
    this.#buffer = new ReportBuffer<EncodedReport>({
      sizeOf: ({ byteLength }) => byteLength,
      send: (batch) => {
        const taken = this.#link.send(reports(encodedBatch(batch)));
        if (taken) onDropped(batch.dropped);
        return taken;
      },
    });
    this.#link = new Link({ ...options, onConnected: () => this.#buffer.flush() });
  }

  get connected(): boolean {
    return this.#link.connected;
  }

  start(): void {
    this.#link.start();
  }

  /** @returns false when the message was not taken */
  send(message: Up): boolean {
    return this.#link.send(message);
  }

  report(report: EncodedReport): void {
    this.#buffer.add(report);
  }

  /** Lets what waits go up, then ends the link. */
  async stop(): Promise<void> {
    this.#buffer.flush();
    this.#buffer.stop();
    await this.#link.close();
  }
}
