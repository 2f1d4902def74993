import { type Bare, type BareTransport, startBare } from '../gateway/bare.ts';
import { Bounds } from '../gateway/bounds.ts';
import { decisionMicroseconds } from '../gateway/decision-share.ts';
import { type PeerName, peers, type RunningPeer, startPeer } from '../gateway/peers.ts';
import { revokedAfter } from '../gateway/revoked-key.ts';
import { Rig, type Target } from '../gateway/rig.ts';
import { System } from '../gateway/system.ts';
import { chatBody, Rounds, type Trial } from '../gateway/trials.ts';
import type { BenchCase, BenchSuite } from '../suite.ts';
import { SharedTrials } from '../worker/trials.ts';

const full = process.argv.includes('--full');
const DIRECT = 'direct';
const GRPC_JS = 'grpc-js';
const LEAN = 'lean transport';
const TRACED = 'traced';
/** The user for whom the bench's configuration turns `http2_transport` on. */
const LEAN_USER = 'lean';
const WARM_UPS = 5;
const MEMORY_STREAMS = full ? 100_000 : 20_000;
const ABORTED_STREAMS = full ? 10_000 : 2_000;

let rig: Rig;
let system: System;
let running: readonly RunningPeer[] = [];
let bare: readonly Bare[] = [];
let rounds: Rounds;
const stops: (() => Promise<void>)[] = [];

const BARE: readonly BareTransport[] = ['grpc-js', 'http2'];
const ourTransports: { name: string; user?: string }[] = [{ name: GRPC_JS }, { name: LEAN, user: LEAN_USER }];

/** Of what others were measured with here: added first token, streams a second and processor time, as shares. */
const goals: Record<PeerName, { added?: number; rate: number; cpu?: Record<string, number> }> = {
  'vllm-router': { added: 1.3, rate: 1 / 1.3, cpu: { [GRPC_JS]: 0.95, [LEAN]: 0.6 } },
  'Bifrost core': { rate: 1 / 2.5, cpu: { [GRPC_JS]: 0.7, [LEAN]: 0.4 } },
  'Portkey': { added: 0.04, rate: 1 / 4.5 },
  'LiteLLM': { added: 0.1, rate: 1 / 50 },
};

async function setUp(): Promise<void> {
  rig = await Rig.start();
  stops.unshift(() => rig.stop());
  system = await System.start(`127.0.0.1:${rig.grpcPort}`);
  stops.unshift(() => system.stop());
  const upstream = `http://127.0.0.1:${rig.httpPort}`;
  const started: (RunningPeer | undefined)[] = [];
  for (const peer of peers) started.push(await startPeer(peer, upstream));
  running = started.filter((peer) => peer !== undefined);
  bare = await Promise.all(BARE.map((transport) => startBare(transport, `127.0.0.1:${rig.grpcPort}`)));
  for (const one of [...running, ...bare]) stops.unshift(() => one.stop());
  const body = chatBody();
  const ours = ourTransports.map(({ name, user }) => ({ name, pid: system.gateway.pid, target: new Bounds(rig, system, user).target() }));
  const others = [...bare, ...running].map(({ name, pid, target }) => ({ name, pid, target: { ...target, body } }));
  rounds = new Rounds(rig, [{ name: DIRECT, pid: 0, target: directTarget() }, ...ours, ...others]);
  await rounds.warmUp();
}

function directTarget(): Target {
  return { address: `127.0.0.1:${rig.httpPort}`, path: '/v1/chat/completions', body: chatBody() };
}

async function tearDown(): Promise<void> {
  for (const stop of stops) await stop();
}

/** Milliseconds that a gateway adds to the first token of the upstream itself, in the same round. */
async function added(reader: string, name: string): Promise<number> {
  const direct = await rounds.next(reader, DIRECT);
  return (await rounds.next(reader, name)).first - direct.first;
}

function versus(transport: string, peer: string, label: string, unit: string, what: keyof Trial, most: number): BenchCase {
  const name = `${label}, ${transport}`;
  const reader = `${name} ${peer}`;
  return {
    name,
    unit,
    ours: async () => (await rounds.next(reader, transport))[what],
    peerName: peer,
    peer: async () => (await rounds.next(`${reader}:`, peer))[what],
    goal: { of: 'ratio', most },
  };
}

function againstPeer(peer: PeerName): BenchCase[] {
  const { added: share, rate, cpu = {} } = goals[peer];
  return ourTransports.flatMap(({ name }) => [
    ...(share === undefined ? [] : [addedVersus(name, peer, share)]),
    versus(name, peer, 'wall time a stream, 16 at once', 'ms', 'perStream', rate),
    ...(cpu[name] === undefined ? [] : [versus(name, peer, 'CPU a stream', 'µs', 'cpu', cpu[name])]),
  ]);
}

/** Not goals: what node:http and the way to the worker cost alone, beside the peer that is hardest to beat. */
function yardsticks(): BenchCase[] {
  const [hardest] = running;
  const label = (what: string, { name }: Bare): string => `yardstick: ${what}, ${name}`;
  return bare.flatMap((one) => [
    yardstick(label('first token added', one), 'ms', (reader, name) => added(reader, name), one, hardest),
    yardstick(label('wall time a stream, 16 at once', one), 'ms', async (reader, name) => (await rounds.next(reader, name)).perStream, one, hardest),
    yardstick(label('CPU a stream', one), 'µs', async (reader, name) => (await rounds.next(reader, name)).cpu, one, hardest),
  ]);
}

function yardstick(name: string, unit: string, read: (reader: string, contender: string) => Promise<number>, one: Bare, peer: RunningPeer | undefined): BenchCase {
  const versusPeer = peer && { peerName: peer.name, peer: () => read(`${name}:`, peer.name) };
  return { name, unit, ours: () => read(name, one.name), ...versusPeer };
}

function addedVersus(transport: string, peer: string, most: number): BenchCase {
  const name = `first token added, ${transport}`;
  const reader = `${name} ${peer}`;
  return { name, unit: 'ms', ours: () => added(reader, transport), peerName: peer, peer: () => added(`${reader}:`, peer), goal: { of: 'ratio', most } };
}

const alone = (name: string, unit: string, most: number, ours: () => Promise<number>): BenchCase => ({ name, unit, ours, goal: { of: 'value', most } });
/** What depends on no peer and swings little is measured once. */
const single = (one: BenchCase): BenchCase => ({ ...one, pairs: 1 });

function speed(): BenchCase[] {
  return [
    ...ourTransports.map(({ name }) => alone(`first token added, ${name}`, 'ms', 0.8, () => added(`alone ${name}`, name))),
    ...yardsticks(),
    ...running.flatMap(({ name }) => againstPeer(name)),
    { ...versus(LEAN, GRPC_JS, 'first token, p50', 'ms', 'first', 0.8), name: 'lean transport against grpc-js: first token, p50' },
    { ...versus(LEAN, GRPC_JS, 'CPU a stream', 'µs', 'cpu', 0.65), name: 'lean transport against grpc-js: CPU a stream' },
    ...ourTransports.map(({ name, user }) => alone(`16 streams, a token every 10 ms: first token added, p99, ${name}`, 'ms', 6, () => new Bounds(rig, system, user).pacedFirst(directTarget()))),
  ];
}

const once = <Result>(run: () => Promise<Result>): SharedTrials<Result> => new SharedTrials(run);

function bounds({ name, user }: { name: string; user?: string }): BenchCase[] {
  const of = (): Bounds => new Bounds(rig, system, user);
  const stalled = once(() => of().stalled());
  const many = once(() => of().many());
  const [quiet, stops, reads] = (['none', 'stops reading', 'reads all'] as const).map((kind) => once(() => of().beside(kind))) as [SharedTrials<Beside>, SharedTrials<Beside>, SharedTrials<Beside>];
  const phases = (['queued', 'prefill', 'streaming', 'whole'] as const).map((phase) => alone(`client gone, ${phase}: cancelled after, p99, ${name}`, 'ms', 10, () => of().cancelled(phase, phase === 'queued' ? 30 : 100)));
  const others = (label: string, trials: SharedTrials<Beside>): BenchCase[] => [
    { name: `one abusive stream that ${label}: others' p99, ${name}`, unit: 'ms', ours: async () => (await trials.next('p99')).p99, peerName: 'without it', peer: async () => (await quiet.next(label)).p99, goal: { of: 'ratio', most: 1.2 } },
    alone(`one abusive stream that ${label}: slowest health check, ${name}`, 'ms', 50, async () => (await trials.next('health')).health),
  ];
  return [
    ...phases,
    alone(`client stops reading 100 MB: growth, ${name}`, 'MB', 16, async () => (await stalled.next('growth')).growth),
    alone(`client stops reading 100 MB: sent by the upstream, ${name}`, 'MB', 16, async () => (await stalled.next('sent')).sent),
    ...others('stops reading', stops),
    ...others('reads all', reads),
    alone(`1000 streams at once: memory a stream, ${name}`, 'KiB', 64, async () => (await many.next('kib')).kib),
    alone(`1000 streams at once: median rate over the slowest's, ${name}`, 'times', 1 / 0.8, async () => 1 / (await many.next('fairness')).fairness),
    alone(`${ABORTED_STREAMS} aborted streams: leaked, ${name}`, 'streams and files', 0, () => of().leaked(ABORTED_STREAMS)),
  ];
}

type Beside = Awaited<ReturnType<Bounds['beside']>>;

function memory({ name, user }: { name: string; user?: string }): BenchCase[] {
  const trials = once(() => new Bounds(rig, system, user).memory(MEMORY_STREAMS));
  return [
    alone(`resident memory over ${MEMORY_STREAMS} streams, ${name}`, 'MB', 200, async () => (await trials.next('resident')).residentMb),
    alone(`growth for 10000 streams, second half of ${MEMORY_STREAMS}, ${name}`, 'MB', 1, async () => (await trials.next('slope')).slope),
  ];
}

/** What deciding, being observed and being taken back a key cost. */
function overheads(): BenchCase[] {
  let traced: Rounds | undefined;
  const next = async (name: string): Promise<number> => {
    const target = new Bounds(rig, system).target();
    if (!traced) {
      const gateway = await system.traced();
      traced = new Rounds(rig, [{ name: GRPC_JS, pid: system.gateway.pid, target }, { name: TRACED, pid: gateway.pid, target: { ...target, address: gateway.address } }]);
      // It has just started, and is compared with one that has long been running.
      for (let times = 0; times < WARM_UPS; times++) await traced.warmUp();
    }
    return (await traced.next(name, name)).cpu;
  };
  return [
    alone('decision over 11 flags and a routing table', 'µs', 5, () => decisionMicroseconds({ stamped: false })),
    alone('evaluation, decision and stamp: share of a request’s CPU', '%', 1, async () => (100 * (await decisionMicroseconds({ stamped: true }))) / (await rounds.next('decision share', GRPC_JS)).cpu),
    { name: 'CPU a stream with OpenTelemetry on, grpc-js', unit: 'µs', ours: () => next(TRACED), peerName: 'without it', peer: () => next(GRPC_JS), goal: { of: 'ratio', most: 1.05 } },
    single(alone('an API key is revoked: refused after', 'ms', 5_000, () => revokedAfter(system))),
  ];
}

/** Our gateway as it runs, with all its controllers linked, beside those that others use, before the same upstream. */
export const suite: BenchSuite = {
  name: 'gateway',
  description: 'streams of 20 tokens from a fake upstream (gRPC for ours, the same by SSE for peers); ours with every controller linked',
  pairs: full ? 7 : 5,
  setUp,
  tearDown,
  get cases() {
    return [...speed(), ...overheads(), ...ourTransports.flatMap((transport) => [...bounds(transport), ...memory(transport)].map(single))];
  },
};
