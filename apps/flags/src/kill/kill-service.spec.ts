import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { silentLogger } from '@mlx-serving/service-kit';
import { ProductionRules } from '../approval/production-rules.ts';
import { errors } from '../errors.ts';
import { LiveFlags } from '../snapshot/live-flags.ts';
import { NO_EMERGENCY, type WriteResult } from '../store/flag-store.ts';
import { KillJournal } from './kill-journal.ts';
import { KillService } from './kill-service.ts';

const alice = { actor: 'alice', reason: 'it burns' };

/** A store that is away when the test says so, and answers a kill when the test lets it. */
class HeldStore {
  away = false;
  readonly kills = new Set<string>();
  emergency = false;
  held: Promise<void> = Promise.resolve();
  asked: () => void = () => undefined;

  async killFlag(name: string): Promise<WriteResult> {
    await this.#answer();
    this.kills.add(name);
    return this.#written(name);
  }

  async reviveFlag(name: string): Promise<WriteResult> {
    if (this.away) throw errors.STORE_UNREACHABLE();
    this.kills.delete(name);
    return this.#written(name);
  }

  async setEmergency({ killSwitch }: { killSwitch?: boolean | undefined }): Promise<WriteResult> {
    if (killSwitch) await this.#answer();
    this.emergency = killSwitch ?? this.emergency;
    return this.#written('');
  }

  async raiseRevision(): Promise<void> {
    if (this.away) throw errors.STORE_UNREACHABLE();
  }

  async #answer(): Promise<void> {
    if (this.away) throw errors.STORE_UNREACHABLE();
    this.asked();
    await this.held;
  }

  #written(name: string): WriteResult {
    return { outcome: 'written', names: [name], state: { revision: 1n, flags: new Map(), kills: new Map(), emergency: NO_EMERGENCY } };
  }
}

describe('a kill that is journalled (F13, F14)', () => {
  let folder: string;
  let store: HeldStore;
  let journal: KillJournal;
  let release: () => void;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kills-'));
    store = new HeldStore();
    journal = new KillJournal(join(folder, 'kills.jsonl'), silentLogger);
  });
  afterEach(() => rm(folder, { recursive: true }));

  const service = (environment = 'development'): KillService => {
    const live = new LiveFlags({ onChange: () => undefined, onUndecodable: () => undefined });
    const prove = async () => ({ revision: 1n, acknowledged: [], missing: [], durable: true });
    const writer = { assertWritable: () => undefined, putInForce: async () => undefined, prove, proveHere: prove };
    const options = { store, live, writer, refresher: { lost: undefined, reload: async () => undefined }, journal, rules: new ProductionRules(environment, 25), logger: silentLogger };
    return new KillService(options as never);
  };
  /** A flush under way: the store has been asked to write a kill, and answers once it is released. */
  const flushUnderWay = async (kills: KillService): Promise<void> => {
    store.away = false;
    store.held = new Promise((resolve) => (release = resolve));
    const asked = new Promise<void>((resolve) => (store.asked = resolve));
    void kills.flush();
    await asked;
  };

  it('is not written after its flag was revived: the revival waits for a flush that is under way', async () => {
    const kills = service();
    store.away = true;
    await kills.kill('a', alice);
    await flushUnderWay(kills);
    const revived = kills.revive('a', alice);
    release();
    await revived;
    await kills.flush();
    expect([[...store.kills], kills.journalled]).toEqual([[], []]);
  });

  it('of all flags is not written after the emergency was turned off', async () => {
    const kills = service();
    store.away = true;
    await kills.setEmergency({ killSwitch: true }, alice);
    await flushUnderWay(kills);
    const off = kills.setEmergency({ killSwitch: false }, alice);
    release();
    await off;
    await kills.flush();
    expect(store.emergency).toBe(false);
  });

  it('is written before its revival also when it came after the flush began', async () => {
    const kills = service();
    store.away = true;
    await kills.kill('a', alice);
    await flushUnderWay(kills);
    store.away = true;
    await kills.kill('b', alice);
    store.away = false;
    const revived = kills.revive('b', alice);
    release();
    await revived;
    expect([[...store.kills], kills.journalled]).toEqual([['a'], []]);
  });

  it('keeps its flag from being revived for as long as the store does not take it', async () => {
    const kills = service();
    store.away = true;
    await kills.kill('a', alice);
    await expect(kills.revive('a', alice)).rejects.toMatchObject({ code: 'UNAVAILABLE', reason: 'KILL_JOURNALLED' });
    await expect(kills.setEmergency({ killSwitch: false }, alice)).resolves.toBeDefined();
    expect(kills.journalled).toEqual(['a']);
  });

  it('is lifted in production with a reason alone, and made without one', async () => {
    const kills = service('production');
    const nobody = { actor: 'alice', reason: ' ' };
    await kills.kill('a', nobody);
    await kills.setEmergency({ killSwitch: true, rollbackToBaseline: true }, nobody);
    await expect(kills.revive('a', nobody)).rejects.toMatchObject({ reason: 'REASON_MISSING' });
    await expect(kills.setEmergency({ killSwitch: false }, nobody)).rejects.toMatchObject({ reason: 'REASON_MISSING' });
    // What is said to be off as it is turns nothing off.
    await expect(kills.setEmergency({ killSwitch: true, rollbackToBaseline: false }, nobody)).resolves.toBeDefined();
    expect([store.kills.has('a'), store.emergency]).toEqual([true, true]);
    await kills.revive('a', alice);
    await kills.setEmergency({ killSwitch: false }, alice);
    expect([store.kills.has('a'), store.emergency]).toEqual([false, false]);
  });
});

describe('the journal of kills', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kills-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('forgets what the store has also on a disk that takes no new file, once nothing else is in it', async () => {
    // Leaves no room for the name of the file that would replace it.
    const path = join(folder, 'k'.repeat(250));
    const journal = new KillJournal(path, silentLogger);
    for (const flag of ['a', 'b']) await journal.append({ flag, ...alice, atMs: 17 });
    const [a, b] = journal.entries;
    await journal.remove([a!]);
    expect((await readFile(path, 'utf8')).trim().split('\n')).toHaveLength(2);
    await journal.remove([b!]);
    const next = new KillJournal(path, silentLogger);
    await next.load();
    expect(next.entries).toEqual([]);
  });
});
