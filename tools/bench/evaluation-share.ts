import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileFlags } from '@mlx-serving/evaluation';
import { featureFlagsFile, flagsOfFile } from '@mlx-serving/policy';
import { parseYaml } from '@mlx-serving/service-kit';
import { FakeCanary, FakeFlags, FakeQos, FakeWorker } from '@mlx-serving/testing';
import { DecisionCounter } from '../../apps/gateway/src/decision/decision-counts.ts';
import { freePorts, ServiceProcess } from './service-process.ts';

const REQUESTS = 400;
const WARM_UP = 1_500;
const EVALUATIONS = 50_000;
const shipped = fileURLToPath(new URL('../../config/feature-flags.yaml', import.meta.url));

/** Two gateways that differ in their flags alone: one has those that ship, one has none. Their worker answers at once with one token. */
export class EvaluationShare {
  readonly #folder = mkdtempSync(join(tmpdir(), 'mlx-serving-bench-'));
  readonly #flags = flagsOfFile(parseYaml(shipped, readFileSync(shipped, 'utf8'), featureFlagsFile));
  readonly #closing: (() => unknown)[] = [];
  readonly #gateways: Record<string, { process: ServiceProcess; url: string }> = {};

  async start(): Promise<void> {
    if (Object.keys(this.#gateways).length > 0) return;
    const worker = await new FakeWorker({ script: ['ok'] }).start();
    const [qos, canary] = [await new FakeQos().start(), await new FakeCanary().start()];
    this.#closing.push(() => worker.kill(), () => qos.kill(), () => canary.kill());
    for (const [name, flags] of [['on', Object.fromEntries(this.#flags)], ['off', {}]] as const) {
      const controller = await new FakeFlags().hold(1n, flags).start();
      const [http = 0, grpc = 0, operations = 0] = await freePorts(3);
      const ports = { MLX_SERVING_GATEWAY_HTTP_PORT: String(http), MLX_SERVING_GATEWAY_GRPC_PORT: String(grpc), MLX_SERVING_GATEWAY_OPERATIONS_PORT: String(operations) };
      const addresses = { MLX_SERVING_FLAGS_ADDRESS: controller.address, MLX_SERVING_QOS_ADDRESS: qos.address, MLX_SERVING_CANARY_ADDRESS: canary.address, MLX_SERVING_WORKERS: worker.address };
      const gateway = await ServiceProcess.start('gateway', operations, { ...ports, ...addresses, MLX_SERVING_STATE_DIR: join(this.#folder, name), MLX_SERVING_REPLICA_ID: name });
      this.#gateways[name] = { process: gateway, url: `http://127.0.0.1:${http}` };
      this.#closing.push(() => controller.kill(), () => gateway.stop());
    }
    for (const name of ['on', 'off'] as const) await this.microsecondsPerRequest(name, WARM_UP);
  }

  /** Microseconds of the gateway's processor time for one request. */
  async microsecondsPerRequest(name: 'on' | 'off', requests = REQUESTS): Promise<number> {
    await this.start();
    const { process: gateway, url } = this.#gateways[name]!;
    const before = await gateway.cpuSeconds();
    for (let request = 0; request < requests; request++) {
      const body = JSON.stringify({ model: 'fake', user: `user-${request}`, max_tokens: 1, messages: [{ role: 'user', content: 'Hello' }] });
      const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      if (response.status !== 200) throw new Error(`The gateway answered ${response.status}.`);
      await response.arrayBuffer();
    }
    return ((await gateway.cpuSeconds() - before) * 1e6) / requests;
  }

  /** Microseconds of processor time in which every flag that ships is evaluated and counted, as for one request. */
  microsecondsPerEvaluation(): number {
    const flags = compileFlags({ flags: [...this.#flags].map(([name, config]) => ({ name, config, killed: false })), emergency: { killSwitch: false, rollbackToBaseline: false } });
    const counts = new DecisionCounter();
    const began = process.cpuUsage();
    for (let request = 0; request < EVALUATIONS; request++) {
      const key = `user-${request}`;
      counts.addAll(flags.names, flags.evaluateAll({ key, attributes: { user_id: key, model: 'fake' } }).enabled);
    }
    const { user, system } = process.cpuUsage(began);
    return (user + system) / EVALUATIONS;
  }

  async stop(): Promise<void> {
    for (const close of this.#closing.splice(0).reverse()) await close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
