import { Metadata, status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createServiceClient, Membership } from '@mlx-serving/contracts';
import { FakeWorker, until } from '@mlx-serving/testing';
import { Harness, type Setup } from './gateway-harness.ts';

let gateway: Harness;
const parts: { close(): void }[] = [];
const guests: FakeWorker[] = [];

afterEach(async () => {
  for (const part of parts.splice(0)) part.close();
  await Promise.all(guests.splice(0).map((guest) => guest.kill()));
  await gateway.stop();
});

async function start(setup: Setup = {}): Promise<FakeWorker> {
  gateway = await new Harness(setup).start();
  gateway.worker.script = ['configured'];
  const guest = await new FakeWorker({ script: ['guest'] }).start();
  guests.push(guest);
  return guest;
}

function join(address: string, { token = '', variant = '' } = {}) {
  const client = createServiceClient(Membership, `127.0.0.1:${gateway.app.ports.grpc}`);
  parts.push(client);
  const metadata = new Metadata();
  if (token !== '') metadata.set('join-token', token);
  const call = client.join({ metadata });
  const failed = new Promise<{ code: number; details: string }>((resolve) => call.on('error', (error) => resolve(error as never)));
  call.on('data', () => undefined);
  const say = (): boolean => call.write({ $typeName: 'mlx_serving.v1.JoinRequest', address, variant });
  say();
  return { call, failed, say };
}

const serving = (count: number) => until(async () => (await gateway.metric('mlx_serving_gateway_serving_workers{variant="baseline"}')) === String(count));

describe('a worker that joins', () => {
  it('gets requests while its lease holds, and none when it has left', async () => {
    const guest = await start();
    const { call } = join(guest.address);
    await serving(2);
    for (let request = 0; request < 20; request++) await gateway.chat({ messages: [{ role: 'user', content: `${request} is new` }] });
    expect(guest.generations.length).toBeGreaterThan(0);
    call.end();
    await serving(1);
    const had = guest.generations.length;
    for (let request = 0; request < 5; request++) expect((await gateway.chat()).status).toBe(200);
    expect(guest.generations).toHaveLength(had);
  });

  it('is told to the canary service when it joins as the canary, and again when it has left', async () => {
    const guest = await start();
    gateway.canary.route({ revision: 2n, enabled: true, rolloutPercentage: 100 });
    const enabled = async () => ((await (await gateway.get('/health/canary')).json()) as { canary: { enabled: boolean } }).canary.enabled;
    expect(await enabled()).toBe(false);
    const { call } = join(guest.address, { variant: 'canary' });
    const told = (addresses: string[]) =>
      until(() => {
        // Whatever comes down, a lease each second at least, is the occasion.
        gateway.canary.send({ case: 'lease', value: { revision: 2n } });
        return JSON.stringify(gateway.canary.all('canaryWorkers').at(-1)?.addresses) === JSON.stringify(addresses);
      });
    await told([guest.address]);
    expect(await enabled()).toBe(true);
    await until(async () => (await gateway.chat()).headers.get('x-mlx-serving-variant') === 'canary');
    call.end();
    await told([]);
    expect(await enabled()).toBe(false);
    expect(gateway.canary.all('canaryWorkers')).toHaveLength(2);
  });

  it('ends what it has begun when its lease is gone, and counts as gone when its connection is', async () => {
    const guest = await start();
    guest.script = undefined;
    const { call } = join(guest.address);
    await serving(2);
    await gateway.worker.kill();
    await serving(1);
    const answer = gateway.chat({ stream: true });
    (await guest.generation(0)).accept().tokens('one ');
    const response = await answer;
    call.cancel();
    await serving(0);
    guest.generations[0]?.tokens('two');
    guest.generations[0]?.finish();
    expect(await response.text()).toContain('[DONE]');
  });

  it('must show the token where there is one', async () => {
    const guest = await start({ joinToken: 'secret' });
    expect((await join(guest.address).failed).code).toBe(7);
    expect((await join(guest.address, { token: 'secreT' }).failed).details).toContain('may not join');
    join(guest.address, { token: 'secret' });
    await serving(2);
  });

  it('is refused without an address that can be one, and with another address than it began with', async () => {
    await start();
    expect((await join('nowhere').failed).code).toBe(3);
    expect((await join('127.0.0.1:1', { variant: 'other' }).failed).code).toBe(3);
  });

  it('changes nothing when it is configured already', async () => {
    await start();
    const { call } = join(gateway.worker.address);
    call.end();
    expect((await gateway.chat()).status).toBe(200);
    await serving(1);
  });

  it('is refused a variant that there is not, whatever its name', async () => {
    const guest = await start();
    for (const variant of ['constructor', 'shadow']) expect(await join(guest.address, { variant }).failed).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect((await gateway.chat()).status).toBe(200);
  });
});
