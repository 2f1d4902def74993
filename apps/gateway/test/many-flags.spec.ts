import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createServiceClient, type GenerateResponse, Inference } from '@mlx-serving/contracts';
import { FakeWorker, until } from '@mlx-serving/testing';
import { Harness, on } from './gateway-harness.ts';

const COUNT = 1_000;
const gateway = new Harness({ worker: new FakeWorker({ script: ['one'] }) });
const names = Array.from({ length: COUNT }, (_, at) => `a_flag_with_a_usual_name_${String(at).padStart(4, '0')}`);

beforeAll(() => {
  gateway.flags.hold(13n, Object.fromEntries(names.map((name) => [name, on])));
  return gateway.start();
});
afterAll(() => gateway.stop());

describe('an answer under a thousand flags', () => {
  it('names so many of them as every client takes in a head, and how many more there are', async () => {
    const response = await gateway.chat();
    expect(response.status).toBe(200);
    const list = response.headers.get('x-mlx-serving-flags') ?? '';
    const shown = list.split(',');
    expect(list.length).toBeLessThanOrEqual(4_096);
    expect(shown.slice(0, -1)).toEqual(names.slice(0, shown.length - 1));
    expect(shown.at(-1)).toBe(`+${COUNT - shown.length + 1}`);
  });

  it('is reported in messages that a controller takes, however many reports have waited for it', async () => {
    await gateway.qos.kill();
    await until(async () => (await gateway.metric('mlx_serving_gateway_links_up{link="qos"}')) === '0');
    const before = gateway.qos.all('reports').flatMap(({ reports }) => reports).length;
    const count = 150;
    for (let answered = 0; answered < count; answered += 10) await Promise.all(Array.from({ length: 10 }, () => gateway.chat()));
    await gateway.qos.start();
    const reports = await gateway.reports(before + count);
    expect(Object.keys(reports.at(-1)?.decision?.flagReasons ?? {})).toHaveLength(COUNT);
  });

  it('has them all in the decision of the gRPC door', async () => {
    const client = createServiceClient(Inference, `127.0.0.1:${gateway.app.ports.grpc}`);
    const events: GenerateResponse[] = [];
    for await (const event of client.generate({ model: 'fake', input: { case: 'prompt', value: 'x' } }) as AsyncIterable<GenerateResponse>) events.push(event);
    const [first] = events;
    expect(first?.event.case === 'decision' && first.event.value.enabledFlags).toEqual(names);
    client.close();
  });
});
