import { describe, expect, it } from '@jest/globals';
import { Priority } from '@mlx-serving/contracts';
import fc from 'fast-check';
import { CLASS_DELAY_MS, FairQueue, OLDEST_EVERY, type Waiting } from './fair-queue.ts';
import { CLASSES } from './traffic-control.ts';

interface Named extends Waiting {
  readonly id: number;
}

let ids = 0;
const one = (more: Partial<Waiting> = {}): Named => ({ id: ids++, priority: Priority.NORMAL, tenant: '', cost: 1, arrivedAt: ids, ...more });

function filled(entries: readonly Named[]): FairQueue<Named> {
  const queue = new FairQueue<Named>();
  for (const entry of entries) queue.add(entry);
  return queue;
}

function drained(queue: FairQueue<Named>): Named[] {
  const taken: Named[] = [];
  for (let entry = queue.take(); entry; entry = queue.take()) taken.push(entry);
  return taken;
}

const waiting = fc.record({ priority: fc.constantFrom(...CLASSES), tenant: fc.constantFrom('a', 'b', 'c'), cost: fc.integer({ min: 1, max: 500 }), after: fc.nat(5_000) });
const arrivals = fc.array(waiting, { maxLength: 60 }).map((list) => {
  let arrivedAt = 0;
  return list.map(({ after, ...more }) => one({ ...more, arrivedAt: (arrivedAt += after) }));
});

describe('FairQueue', () => {
  it('loses nobody and invents nobody, whoever gives up', () => {
    fc.assert(
      fc.property(arrivals, fc.infiniteStream(fc.boolean()), (entries, gone) => {
        const queue = filled(entries);
        const left = entries.filter((entry) => gone.next().value === true && queue.remove(entry));
        const rest = entries.filter((entry) => !left.includes(entry));
        expect(queue.size).toBe(rest.length);
        expect(drained(queue).map(({ id }) => id).sort()).toEqual(rest.map(({ id }) => id).sort());
        expect([queue.size, left.some((entry) => queue.remove(entry))]).toEqual([0, false]);
      }),
    );
  });

  it('takes one of a tenant and a class in the order in which they came, but for the turn of the oldest', () => {
    fc.assert(
      fc.property(arrivals, (entries) => {
        const order = drained(filled(entries));
        for (const priority of CLASSES) {
          for (const tenant of ['a', 'b', 'c']) {
            const own = order.filter((entry) => entry.priority === priority && entry.tenant === tenant).map(({ arrivedAt }) => arrivedAt);
            expect(own).toEqual([...own].sort((x, y) => x - y));
          }
        }
      }),
    );
  });

  it('never lets a request wait for more turns than the bound, whatever comes after it', () => {
    fc.assert(
      fc.property(arrivals, waiting, (before, late) => {
        const last = before.at(-1)?.arrivedAt ?? 0;
        const patient = one({ ...late, arrivedAt: last });
        const queue = filled([...before, patient]);
        const ahead = before.length;
        // Newcomers without end, each of a tenant of its own, from when its class has aged on.
        const aged = last + (CLASS_DELAY_MS[patient.priority] ?? 0) + 1;
        for (let turn = 0; turn <= (ahead + 1) * OLDEST_EVERY; turn++) {
          queue.add(one({ priority: Priority.INTERACTIVE, tenant: `new-${turn}`, arrivedAt: aged + turn }));
          queue.add(one({ priority: patient.priority, tenant: `new too ${turn}`, arrivedAt: aged + turn }));
          if (queue.take() === patient) return;
        }
        throw new Error('it was never taken');
      }),
    );
  });

  it('gives tenants that always wait the same number of tokens, within one request, whatever their requests cost', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 2, maxLength: 5 }), (costs) => {
        const tenants = costs.map((cost, at) => ({ cost, tenant: `t${at}`, had: 0 }));
        const queue = filled(tenants.flatMap(({ cost, tenant }) => Array.from({ length: 300 }, () => one({ cost, tenant, arrivedAt: 0 }))));
        for (let turn = 1; turn < OLDEST_EVERY * 12; turn++) {
          const entry = queue.take() as Named;
          if (turn % OLDEST_EVERY === 0) continue;
          tenants.find(({ tenant }) => tenant === entry.tenant)!.had += entry.cost;
        }
        const had = tenants.map((tenant) => tenant.had);
        const extra = 12 * Math.max(...costs);
        expect(Math.max(...had) - Math.min(...had)).toBeLessThanOrEqual(Math.max(...costs) + extra);
      }),
    );
  });

  it('serves a tenant that comes seldom before the backlog of another', () => {
    const queue = filled(Array.from({ length: 50 }, () => one({ tenant: 'flood', cost: 100, arrivedAt: 0 })));
    for (let turn = 0; turn < 3; turn++) queue.take();
    queue.add(one({ tenant: 'seldom', cost: 100, arrivedAt: 1 }));
    const next = [queue.take(), queue.take()].map((entry) => entry?.tenant);
    expect(next).toContain('seldom');
  });

  it('takes urgent classes first, and what has aged before what has just come', () => {
    const background = one({ priority: Priority.BACKGROUND, arrivedAt: 0 });
    const queue = filled([background, one({ priority: Priority.NORMAL, arrivedAt: 10 }), one({ priority: Priority.INTERACTIVE, arrivedAt: 20 })]);
    expect(drained(queue).map(({ priority }) => priority)).toEqual([Priority.INTERACTIVE, Priority.NORMAL, Priority.BACKGROUND]);
    queue.add(background);
    queue.add(one({ priority: Priority.INTERACTIVE, arrivedAt: 30_001 }));
    expect(queue.take()).toBe(background);
  });

  it('says how many go before one', () => {
    const entries = [one({ tenant: 'a', arrivedAt: 0 }), one({ tenant: 'a', arrivedAt: 1 }), one({ tenant: 'b', arrivedAt: 2 }), one({ priority: Priority.INTERACTIVE, arrivedAt: 3 })];
    const queue = filled(entries);
    expect(entries.map((entry) => queue.position(entry))).toEqual([1, 3, 2, 0]);
  });

  it('has a newcomer push out the last of a less urgent class, else of a tenant that has more, else nobody', () => {
    const flood = Array.from({ length: 3 }, () => one({ tenant: 'flood' }));
    const queue = filled(flood);
    expect(queue.victimOf(one({ tenant: 'flood' }))).toBeUndefined();
    expect(queue.victimOf(one({ tenant: 'other' }))).toBe(flood[2]);
    expect(queue.victimOf(one({ priority: Priority.BATCH, tenant: 'other' }))).toBeUndefined();
    expect(queue.victimOf(one({ priority: Priority.INTERACTIVE, tenant: 'flood' }))).toBe(flood[2]);
    expect(new FairQueue<Named>().victimOf(one())).toBeUndefined();
  });
});
