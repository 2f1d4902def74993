import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { createServiceClient, Flags, FlagSnapshotSchema } from '@mlx-serving/contracts';
import { createRedis, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { DecisionCounter } from '../../apps/gateway/src/decision/decision-counts.ts';
import { encodeSnapshot } from '../../apps/gateway/src/decision/encode-snapshot.ts';
import { FlagSnapshotStore } from '../../apps/gateway/src/decision/flag-snapshot-store.ts';
import { StateFile } from '../../apps/gateway/src/decision/state-file.ts';
import { FlagsLink } from '../../apps/gateway/src/links/flags-link.ts';
import { freePorts, ServiceProcess } from './service-process.ts';
import { quantile } from './statistics.ts';

const KILLS = 1_000;
const WARM_UP = 50;
const FLAG = 'ttft_pipeline';

interface KillAnswer {
  readonly acknowledged: readonly object[];
  readonly missing: readonly string[];
}

/** Redis that forces each write to the disk, the flag service and the admin service as processes, as the launcher starts them. */
class KillSystem {
  readonly #folder = mkdtempSync(join(tmpdir(), 'mlx-serving-bench-'));
  readonly #closing: (() => unknown)[] = [];
  readonly #stores: FlagSnapshotStore[] = [];
  #redis: RedisProcess | undefined;
  #flagsAddress = '';
  #admin = '';
  #authorization = '';
  readonly #agent = new Agent({ keepAlive: true });

  async start(): Promise<this> {
    this.#redis = await startRedis();
    const redis = createRedis(this.#redis.url, silentLogger, 'bench');
    await redis.connect();
    await redis.config('SET', 'appendfsync', 'always');
    redis.disconnect();
    const [flags = 0, flagsOperations = 0, admin = 0, adminOperations = 0] = await freePorts(4);
    this.#flagsAddress = `127.0.0.1:${flags}`;
    this.#admin = `http://127.0.0.1:${admin}`;
    const common = { MLX_SERVING_STATE_DIR: this.#folder, REDIS_URL: this.#redis.url, MLX_SERVING_FLAGS_ADDRESS: this.#flagsAddress };
    await this.#run('flags', flagsOperations, { ...common, MLX_SERVING_FLAGS_GRPC_PORT: String(flags), MLX_SERVING_FLAGS_OPERATIONS_PORT: String(flagsOperations) });
    await this.#run('admin', adminOperations, { ...common, MLX_SERVING_ADMIN_HTTP_PORT: String(admin), MLX_SERVING_ADMIN_OPERATIONS_PORT: String(adminOperations) });
    this.#authorization = `Bearer ${readFileSync(join(this.#folder, 'admin-token'), 'utf8').trim()}`;
    return this;
  }

  /** Gateways as processes of their own. They have no worker: a kill does not need one. */
  async addGateways(count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      const [http = 0, grpc = 0, operations = 0] = await freePorts(3);
      const ports = { MLX_SERVING_GATEWAY_HTTP_PORT: String(http), MLX_SERVING_GATEWAY_GRPC_PORT: String(grpc), MLX_SERVING_GATEWAY_OPERATIONS_PORT: String(operations) };
      await this.#run('gateway', operations, { ...ports, MLX_SERVING_STATE_DIR: this.#folder, MLX_SERVING_FLAGS_ADDRESS: this.#flagsAddress, MLX_SERVING_REPLICA_ID: `gateway-${index}`, MLX_SERVING_WORKERS: '' });
    }
  }

  /** The gateway's own links, each with its own flags, connection and file, all in this process. */
  addLinks(count: number): void {
    for (let index = 0; index < count; index++) {
      const client = createServiceClient(Flags, this.#flagsAddress, { options: { 'grpc.use_local_subchannel_pool': 1 } });
      const file = new StateFile(FlagSnapshotSchema, join(this.#folder, `link-${index}.json`), silentLogger, encodeSnapshot);
      const telemetry = { use: () => undefined, count: () => undefined };
      const keys = { applyKeys: () => undefined, settle: () => undefined };
      const store = new FlagSnapshotStore(silentLogger);
      this.#stores.push(store);
      const common = { client, file, telemetry, keys, replicaId: `link-${index}`, store, counts: new DecisionCounter(), logger: silentLogger };
      const link = new FlagsLink({ ...common, onApplied: () => undefined, preview: () => Promise.reject(new Error('not asked for')) });
      link.start();
      this.#closing.push(async () => {
        await link.stop();
        await file.settled();
        client.close();
      });
    }
  }

  /** Cuts the pub/sub connections of the flag services and lets none come back: what is published reaches nobody. */
  async severPubSub(): Promise<void> {
    const redis = createRedis(this.#redis!.url, silentLogger, 'bench-scissors');
    await redis.connect();
    await redis.call('ACL', 'SETUSER', 'default', '-subscribe', '-psubscribe');
    await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    redis.disconnect();
  }

  /** A second flag service on the same Redis, to which what is added from now on is linked. */
  async addFlagService(): Promise<void> {
    const [flags = 0, operations = 0] = await freePorts(2);
    const ports = { MLX_SERVING_FLAGS_GRPC_PORT: String(flags), MLX_SERVING_FLAGS_OPERATIONS_PORT: String(operations) };
    await this.#run('flags', operations, { ...ports, MLX_SERVING_STATE_DIR: this.#folder, REDIS_URL: this.#redis!.url, MLX_SERVING_REPLICA_ID: 'second' });
    this.#flagsAddress = `127.0.0.1:${flags}`;
  }

  /** Milliseconds from each kill over REST until the links of this process have applied it, however they hear of it. */
  async landingTimes(kills: number): Promise<number[]> {
    const isOff = (store: FlagSnapshotStore): boolean => store.flags.evaluate(FLAG, { key: 'bench' }).reason === 'KILLED';
    const until = async (off: boolean): Promise<void> => {
      while (!this.#stores.every((store) => isOff(store) === off)) await delay(1);
    };
    const times: number[] = [];
    for (let kill = 0; kill < kills; kill++) {
      // At another moment between two comparisons of revisions each time.
      await delay(Math.random() * 1_000);
      const began = performance.now();
      const answered = this.#call('kill');
      await until(true);
      times.push(performance.now() - began);
      await answered;
      await this.#call('revive');
      await until(false);
    }
    return times;
  }

  /** Milliseconds from each kill over REST to its answer, with the acknowledgements of all gateways in it. */
  async killTimes(gateways: number): Promise<number[]> {
    while ((await this.#call('revive')).acknowledged.length < gateways) await delay(100);
    const times: number[] = [];
    for (let kill = -WARM_UP; kill < KILLS; kill++) {
      const began = performance.now();
      const { acknowledged, missing } = await this.#call('kill');
      if (kill >= 0) times.push(performance.now() - began);
      if (acknowledged.length !== gateways || missing.length > 0) throw new Error(`${acknowledged.length} of ${gateways} gateways acknowledged.`);
      await this.#call('revive');
    }
    return times;
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    for (const close of this.#closing.reverse()) await close();
    await this.#redis?.dispose();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #run(name: string, operationsPort: number, env: Record<string, string>): Promise<void> {
    const service = await ServiceProcess.start(name, operationsPort, env);
    this.#closing.push(() => service.stop());
  }

  async #call(what: 'kill' | 'revive'): Promise<KillAnswer> {
    const { status, text } = await post(`${this.#admin}/admin/flags/${FLAG}/${what}`, this.#authorization, this.#agent);
    return status === 200 ? (JSON.parse(text) as KillAnswer) : { acknowledged: [], missing: [] };
  }
}

/** On a connection that stays open. `fetch` takes more than a millisecond of its own, which is none of the system's. */
async function post(url: string, authorization: string, agent: Agent): Promise<{ status: number | undefined; text: string }> {
  const sent = request(url, { method: 'POST', agent, headers: { authorization } }).end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return { status: response.statusCode, text: await readText(response) };
}

/** Measures the kills of one system once, and answers quantiles of them. */
export function killQuantiles(gateways: number, add: (system: KillSystem) => unknown): (share: number) => Promise<number> {
  return quantilesOf(async (system) => {
    await add(system);
    return system.killTimes(gateways);
  });
}

/** The same of kills that a flag service takes, until they have landed on four links of another one that hears nothing of Redis's pub/sub. */
export function severedQuantiles(kills: number): (share: number) => Promise<number> {
  return quantilesOf(async (system) => {
    await system.addFlagService();
    system.addLinks(4);
    await system.severPubSub();
    return system.landingTimes(kills);
  });
}

function quantilesOf(measureOn: (system: KillSystem) => Promise<number[]>): (share: number) => Promise<number> {
  let times: Promise<number[]> | undefined;
  const measure = async (): Promise<number[]> => {
    const system = new KillSystem();
    try {
      await system.start();
      return await measureOn(system);
    } finally {
      await system.stop();
    }
  };
  return async (share) => quantile(await (times ??= measure()), share);
}
