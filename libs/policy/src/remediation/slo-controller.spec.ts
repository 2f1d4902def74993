import { beforeEach, describe, expect, it } from '@jest/globals';
import { qosMonitor, type QosMonitorSettings } from '../slo/slo-policy.ts';
import { SloController, type Surroundings } from './slo-controller.ts';

type Policy = Record<string, unknown>;

const slo = { name: 'ttft_p95', metric: 'ttft', threshold: 500, window_ms: 5_000, severity: 'critical' };
const scaleUp = { type: 'scale_up', target: 'governor', params: { delta: 4 }, reason: 'slow' };
const scaleDown = { ...scaleUp, type: 'scale_down' };
const shed = { type: 'shed_load', target: 'stream_registry', params: { percentage: 30 }, reason: 'too much' };
const alert = { type: 'alert', target: 'stream_registry', params: { channel: 'slack' }, reason: 'look' };
const circuit = { type: 'circuit_break', target: 'transport', params: { duration_ms: 10_000 }, reason: 'bad worker' };

function settingsOf(policies: readonly Policy[], executor: Policy = {}): QosMonitorSettings {
  return qosMonitor.parse({
    enabled: true,
    evaluator: { enabled: true, evaluation_interval_ms: 5_000, window_ms: 60_000, tdigest_compression: 100 },
    executor: { enabled: true, cooldown_ms: 60_000, max_executions_per_window: 5, execution_window_ms: 300_000, loop_detection_window: 6, ...executor },
    policy_store: { policies: policies.map((policy, index) => ({ id: `p${index}`, name: 'P', enabled: true, priority: 10 - index, slos: [slo], remediations: [], ...policy })) },
  });
}

let time: number;
let surroundings: Surroundings;
beforeEach(() => {
  time = 1_000_000;
  surroundings = { runningRequests: 1, baseLimit: 20, pools: [['w:1', 'w:2', 'w:3', 'w:4']] };
});

const controllerOf = (policies: readonly Policy[], executor: Policy = {}) => new SloController(settingsOf(policies, executor), () => time);

/** One evaluation interval with so slow requests in it; no value, no requests. */
function interval(controller: SloController, ttftMs: number | undefined, changed: Partial<Surroundings> = {}, worker = 'w:1') {
  time += 5_000;
  if (ttftMs !== undefined) for (let each = 0; each < 50; each++) controller.add({ outcome: 'ok', ttftMs, durationMs: ttftMs * 2, tokens: 5, worker, variant: 'baseline' });
  return controller.evaluate({ ...surroundings, ...changed });
}

const intervals = (controller: SloController, count: number, ttftMs: number | undefined, changed?: Partial<Surroundings>) => Array.from({ length: count }, () => interval(controller, ttftMs, changed)).at(-1);
const outcomes = (controller: SloController): string[] => controller.state.records.map(({ outcome, rule }) => `${outcome} ${rule}`);

describe('scaling', () => {
  it('acts at the second bad evaluation, and is undone when all has been good for recovery_ms', () => {
    const controller = controllerOf([{ remediations: [scaleUp] }]);
    interval(controller, 900);
    expect(controller.leases).toEqual([]);
    interval(controller, 900);
    expect(controller.leases).toMatchObject([{ actuator: 'limit', action: 'scale_up', value: 24, policy: 'p0', reason: 'slow' }]);
    intervals(controller, 7, 100);
    expect(controller.leases).toHaveLength(1);
    intervals(controller, 1, 100);
    expect(controller.leases).toEqual([]);
    expect(outcomes(controller)).toEqual(['executed slo_violated', 'withheld cooldown', 'undone recovered']);
  });

  it('goes on by steps after each cooldown, within its range and its budget', () => {
    const controller = controllerOf([{ remediations: [scaleUp] }], { greatest_limit_share: 1.5 });
    const values = new Set<number>();
    for (let each = 0; each < 70; each++) {
      interval(controller, 900);
      for (const lease of controller.leases) values.add(lease.value);
    }
    expect([...values]).toEqual([24, 28, 30]);
    expect(outcomes(controller)).toContain('withheld at_bound');
  });

  it('never takes a step of more than its share of the setting, nor goes beyond what memory allows', () => {
    const controller = controllerOf([{ remediations: [{ ...scaleUp, params: { delta: 1_000 } }] }]);
    intervals(controller, 2, 900);
    expect(controller.leases[0]?.value).toBe(25);
    const tight = controllerOf([{ remediations: [scaleUp] }]);
    intervals(tight, 2, 900, { limitCeiling: 22 });
    expect(tight.leases[0]?.value).toBe(22);
    const none = controllerOf([{ remediations: [scaleUp] }]);
    intervals(none, 3, 900, { limitCeiling: 8 });
    expect(none.leases).toEqual([]);
    expect(outcomes(none)).toEqual(['withheld at_bound']);
  });

  it('takes a step back that made it worse, and does not try again for a while', () => {
    const controller = controllerOf([{ remediations: [scaleUp] }]);
    intervals(controller, 2, 900);
    intervals(controller, 12, 1_200);
    expect(controller.leases).toEqual([]);
    expect(outcomes(controller)).toContain('undone made_worse');
    intervals(controller, 20, 1_200);
    expect(controller.leases).toEqual([]);
  });

  it('does not act again before the cooldown, though it is another violation', () => {
    const controller = controllerOf([{ remediations: [scaleUp] }], { cooldown_ms: 200_000, recovery_ms: 5_000, execution_window_ms: 10_000 });
    intervals(controller, 2, 900);
    intervals(controller, 4, 100);
    expect(controller.leases).toEqual([]);
    intervals(controller, 4, 900);
    expect(controller.leases).toEqual([]);
    expect(outcomes(controller).at(-1)).toBe('withheld cooldown');
  });

  it('counts what is withheld, and does not repeat it', () => {
    const controller = controllerOf([{ remediations: [scaleUp] }]);
    intervals(controller, 10, 900);
    expect(controller.state.records).toHaveLength(2);
    expect(controller.state.records[1]).toMatchObject({ outcome: 'withheld', rule: 'cooldown', times: 8 });
  });
});

describe('ownership', () => {
  it('gives an actuator to one policy, and takes it for one of higher priority', () => {
    const late = { ...slo, name: 'late', percentile: 50, threshold: 800 };
    const controller = controllerOf([{ slos: [late], remediations: [scaleDown] }, { remediations: [scaleUp] }], { cooldown_ms: 5_000 });
    intervals(controller, 2, 600);
    expect(controller.leases).toMatchObject([{ policy: 'p1', value: 24 }]);
    intervals(controller, 3, 900);
    expect(controller.leases).toMatchObject([{ policy: 'p0', action: 'scale_down' }]);
    intervals(controller, 3, 900);
    expect(outcomes(controller)).toContain('withheld owned');
  });
});

describe('shedding', () => {
  it('sheds its share and no more, and stops on recovery', () => {
    const controller = controllerOf([{ remediations: [shed] }, { remediations: [{ ...shed, params: { percentage: 100 } }] }]);
    intervals(controller, 20, 900);
    expect(controller.leases).toMatchObject([{ actuator: 'shed', value: 0.3 }]);
    intervals(controller, 9, 100);
    expect(controller.leases).toEqual([]);
    const all = controllerOf([{ remediations: [{ ...shed, params: { percentage: 100 } }] }]);
    intervals(all, 2, 900);
    expect(all.leases).toMatchObject([{ value: 0.9 }]);
  });
});

describe('blindness', () => {
  it('does nothing on stale or missing data, and lets what is held run out', () => {
    const controller = controllerOf([{ remediations: [shed] }]);
    intervals(controller, 2, 900);
    expect(controller.leases).toHaveLength(1);
    intervals(controller, 11, undefined);
    expect(controller.leases).toHaveLength(1);
    intervals(controller, 1, undefined);
    expect(controller.leases).toEqual([]);
    expect(outcomes(controller).at(-1)).toBe('ran_out ran_out');
  });

  it('changes nothing while another replica acts', () => {
    const controller = controllerOf([{ remediations: [shed] }]);
    intervals(controller, 5, 900, { acting: false });
    expect(controller.state.records).toEqual([]);
  });
});

describe('loops', () => {
  it('freezes an actuator that goes up, down, up, down, gives it its own setting, and alerts', () => {
    const controller = controllerOf([{ remediations: [shed, alert] }], { cooldown_ms: 5_000, recovery_ms: 5_000, execution_window_ms: 5_000, max_executions_per_window: 100 });
    let looped;
    for (let turn = 0; turn < 4 && !looped; turn++) {
      for (const ttftMs of [900, 900, 900, 100, 100, 100, 100]) {
        looped ??= interval(controller, ttftMs).alerts.find(({ alert: { key } }) => key === 'loop/shed');
      }
    }
    expect(looped).toMatchObject({ kind: 'trigger', alert: { channel: 'all', severity: 'critical' } });
    intervals(controller, 10, 900);
    expect(controller.leases).toEqual([]);
    expect(outcomes(controller)).toContain('frozen loop');
    expect(outcomes(controller)).toContain('withheld frozen');
    time += 700_000;
    intervals(controller, 3, 900);
    expect(controller.leases).toHaveLength(1);
  });
});

describe('dry runs', () => {
  it.each([
    ['of one policy', { dry_run: true }, {}],
    ['of everything', {}, { dry_run: true }],
  ])('%s say what would have been done, and do nothing', (_, policy, executor) => {
    const controller = controllerOf([{ remediations: [scaleUp, alert], ...policy }], executor);
    const alerts = Array.from({ length: 4 }, () => interval(controller, 900).alerts);
    expect(alerts.flat()).toEqual([]);
    expect(controller.leases).toEqual([]);
    expect(outcomes(controller)).toEqual(['would_have slo_violated', 'would_have slo_violated', 'withheld cooldown']);
  });

  it('do not stand in the way of a policy that acts', () => {
    const controller = controllerOf([{ remediations: [scaleUp], dry_run: true }, { remediations: [scaleUp] }]);
    intervals(controller, 2, 900);
    expect(controller.leases).toMatchObject([{ policy: 'p1' }]);
  });
});

describe('alerts', () => {
  it('are sent once, and resolved once', () => {
    const controller = controllerOf([{ remediations: [alert] }]);
    const effects = [900, 900, 900, 900, 100, 100, 100, 100].flatMap((ttftMs) => interval(controller, ttftMs).alerts.map(({ kind, alert: { key } }) => `${kind} ${key}`));
    expect(effects).toEqual(['trigger p0/ttft_p95/slack', 'resolve p0/ttft_p95/slack']);
  });

  it('stay open while nothing can be said, and are resolved when their policy goes', () => {
    const controller = controllerOf([{ remediations: [alert] }]);
    intervals(controller, 2, 900);
    expect(intervals(controller, 30, undefined)?.alerts).toEqual([]);
    expect(controller.state.alerts).toHaveLength(1);
    controller.configure(settingsOf([]));
    expect(interval(controller, 100).alerts).toMatchObject([{ kind: 'resolve' }]);
  });
});

describe('circuits', () => {
  const policies = [{ remediations: [circuit] }];
  const mixed = (controller: SloController, worker: string, changed?: Partial<Surroundings>) => {
    for (let each = 0; each < 50; each++) controller.add({ outcome: 'ok', ttftMs: 50, durationMs: 60, tokens: 5, worker: 'w:4', variant: 'baseline' });
    return interval(controller, 900, changed, worker);
  };

  it('open for the worker that is the cause, half-open after their time, and close when trials go well', () => {
    const controller = controllerOf(policies);
    for (let each = 0; each < 3; each++) mixed(controller, 'w:2');
    expect(controller.leases).toMatchObject([{ actuator: 'circuit:w:2', value: 1 }]);
    intervals(controller, 2, 100);
    expect(controller.leases).toMatchObject([{ value: 0.5 }]);
    for (let each = 0; each < 5; each++) controller.add({ outcome: 'ok', ttftMs: 90, durationMs: 90, tokens: 1, worker: 'w:2', variant: 'baseline' });
    interval(controller, 100);
    expect(controller.leases).toEqual([]);
    expect(outcomes(controller).at(-1)).toBe('undone trial_good');
  });

  it('open again when trials go badly', () => {
    const controller = controllerOf(policies);
    for (let each = 0; each < 3; each++) mixed(controller, 'w:2');
    intervals(controller, 2, 100);
    for (let each = 0; each < 2; each++) controller.add({ outcome: 'failed', durationMs: 90, tokens: 0, worker: 'w:2', variant: 'baseline' });
    interval(controller, 100);
    expect(controller.leases).toMatchObject([{ value: 1 }]);
  });

  it.each([[[['w:2']]], [[['w:2'], ['w:4', 'w:5', 'w:6']]]])('never take out more than half of a pool: %j', (pools) => {
    const controller = controllerOf(policies);
    for (let each = 0; each < 5; each++) mixed(controller, 'w:2', { pools });
    expect(controller.leases).toEqual([]);
    expect(outcomes(controller)).toEqual(['withheld no_worker']);
  });

  it('stay closed while a variant is judged, and those that are open close', () => {
    const controller = controllerOf(policies);
    for (let each = 0; each < 4; each++) mixed(controller, 'w:2', { judging: true });
    expect(outcomes(controller)).toEqual(['withheld canary_judged']);
    for (let each = 0; each < 2; each++) mixed(controller, 'w:2');
    expect(controller.leases).toHaveLength(1);
    mixed(controller, 'w:2', { judging: true });
    expect(controller.leases).toEqual([]);
  });
});

describe('a restart', () => {
  it('takes up leases, cooldowns, budgets and open alerts where they were', () => {
    const before = controllerOf([{ remediations: [scaleUp, alert] }]);
    intervals(before, 2, 900);
    const after = new SloController(settingsOf([{ remediations: [scaleUp, alert] }]), () => time, JSON.parse(JSON.stringify(before.state)) as typeof before.state);
    expect(after.leases).toEqual(before.leases);
    expect([interval(after, 900), interval(after, 900)].flatMap(({ alerts }) => alerts)).toEqual([]);
    expect(outcomes(after).at(-1)).toBe('withheld cooldown');
    intervals(after, 10, 100);
    expect(after.leases).toEqual([]);
  });
});

describe('the executor', () => {
  it('gives everything back when it is turned off, or when its policy goes', () => {
    const controller = controllerOf([{ remediations: [shed] }]);
    intervals(controller, 2, 900);
    controller.configure(settingsOf([{ remediations: [shed] }], { enabled: false }));
    interval(controller, 900);
    expect(outcomes(controller).at(-1)).toBe('undone executor_off');
    expect(controller.leases).toEqual([]);
  });
});
