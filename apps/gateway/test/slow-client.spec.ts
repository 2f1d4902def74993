import { afterEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServiceClient, Inference, StreamOutcome } from '@mlx-serving/contracts';
import { until } from '@mlx-serving/testing';
import { Harness } from './gateway-harness.ts';
import { openRaw } from './raw-http.ts';

let gateway: Harness;
afterEach(() => gateway.stop());

const PART = 'x'.repeat(60_000);
const body = { model: 'fake', stream: true, messages: [{ role: 'user', content: 'Hello' }] };

/** The worker sends far more than all buffers between hold, and is cancelled before its end. */
async function isLeft(): Promise<void> {
  const generation = (await gateway.worker.generation(0)).accept();
  for (let part = 0; part < 1_000; part++) generation.tokens(PART);
  await until(() => generation.cancelled);
  const [report] = await gateway.reports(1);
  expect(report).toMatchObject({ outcome: StreamOutcome.CANCELLED, errorReason: 'CLIENT_STALLED' });
  expect(report?.usage?.completionTokens).toBeLessThan(900);
}

describe('a client that stops reading', () => {
  it('holds its worker back, and is left when it reads nothing for too long', async () => {
    gateway = await new Harness({ runtime: { write_stall_timeout_ms: 300 } }).start();
    const client = await openRaw(gateway.app.ports.http, body);
    client.pause();
    await isLeft();
    expect(await gateway.metric('mlx_serving_gateway_stalled_clients_total')).toBe('1');
    expect(await gateway.metric('mlx_serving_gateway_active_streams')).toBe('0');
    client.destroy();
  });

  it('is left at the gRPC door, too', async () => {
    gateway = await new Harness({ runtime: { write_stall_timeout_ms: 300 } }).start();
    const client = createServiceClient(Inference, `127.0.0.1:${gateway.app.ports.grpc}`);
    const call = client.generate({ model: 'fake', input: { case: 'prompt', value: 'Hello' } });
    call.on('error', () => undefined);
    // Before the first read a client of grpc-js takes all that comes.
    call.once('data', () => call.pause());
    await isLeft();
    call.cancel();
    client.close();
  });

  it('gets everything when it reads on in time', async () => {
    gateway = await new Harness().start();
    const client = await openRaw(gateway.app.ports.http, body);
    client.pause();
    const generation = (await gateway.worker.generation(0)).accept();
    for (let part = 0; part < 100; part++) generation.tokens(PART);
    generation.finish();
    let text = '';
    client.on('data', (bytes: Buffer) => (text += bytes.toString()));
    client.resume();
    await until(() => text.includes('[DONE]'));
    expect(text.split('x').length - 1).toBeGreaterThanOrEqual(100 * PART.length);
    client.destroy();
    await once(client, 'close');
  });
});
