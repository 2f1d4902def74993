import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { commandLinesOf, flagsCommand } from './flags-commands.ts';
import { FlagsStack, users } from './flags-stack.ts';
import { Stack, stopAll, temporaryFolder } from './stack.ts';
import { TelemetryReceiver } from './telemetry-receiver.ts';

let system: FlagsStack;
const receiver = new TelemetryReceiver();

beforeAll(async () => {
  await receiver.start();
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_BSP_SCHEDULE_DELAY: '100', OTEL_METRIC_EXPORT_INTERVAL: '500', OTEL_TRACES_SAMPLER_ARG: '0' };
  system = new FlagsStack(await Stack.start({ env }));
  await system.set('pushed', {});
});
afterAll(async () => {
  system.close();
  await stopAll();
  receiver.stop();
});

describe('F26 OpenTelemetry and the log', () => {
  it('traces a request whose caller does: a span feature_flag.evaluate with an event for each flag, in the terms of OpenTelemetry', async () => {
    const [traceId, parent] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
    const headers = { 'content-type': 'application/json', traceparent: `00-${traceId}-${parent}-01` };
    const body = JSON.stringify({ model: 'tiny', max_tokens: 1, user: 'zoe-7', messages: [{ role: 'user', content: 'Hello' }] });
    expect((await fetch(`${system.stack.urls.gateway}/v1/chat/completions`, { method: 'POST', headers, body })).status).toBe(200);
    await system.get('/api/flags/pushed?user=zoe-7', { traceparent: headers.traceparent });
    await eventually(() => receiver.spans.length === 3);
    const { spans } = receiver;
    const request = spans.find(({ name }) => name === 'generate chat');
    const [all, one] = [spans.find(({ parentSpanId }) => parentSpanId === request?.spanId), spans.find(({ name, parentSpanId }) => name === 'feature_flag.evaluate' && parentSpanId === parent)];
    expect(request).toMatchObject({ parentSpanId: parent, values: { 'gen_ai.request.model': 'tiny', 'mlx_serving.variant': 'baseline' } });
    const pushed = { 'feature_flag.key': 'pushed', 'feature_flag.provider.name': 'mlx-serving', 'feature_flag.result.variant': 'on', 'feature_flag.result.reason': 'static', 'feature_flag.set.id': 'development', 'feature_flag.version': expect.any(String) };
    expect(request?.events).toContainEqual(expect.objectContaining({ name: 'stage:firstToken' }));
    expect(all?.events).toContainEqual({ name: 'feature_flag.evaluation', values: expect.objectContaining(pushed) as object });
    expect(one?.values).toMatchObject(pushed);
    // Who asked is in no span.
    expect(JSON.stringify(spans)).not.toContain('zoe-7');
    expect(spans.every((span) => span.traceId === traceId)).toBe(true);
    // One evaluation in 16 is timed.
    await system.onAmong('pushed', users(20));
    await eventually(() => receiver.metrics.has('feature_flag_checks_total') && receiver.metrics.has('feature_flag_evaluation_duration_ms'));
  });

  it('logs decisions as the file says, of the share that it says', async () => {
    expect(system.stack.log('gateway')).not.toContain('Feature flag decision: pushed');
    system.editFile((text) => text.replace('log_feature_decisions: true', 'log_feature_decisions: true\n  log_sampling: 1'));
    await eventually(async () => {
      await system.isOn('pushed', 'zoe-7');
      return /Feature flag decision: pushed for [\w-]+ => enabled/.test(system.stack.log('gateway'));
    });
    expect(system.stack.log('gateway')).not.toMatch(/Feature flag decision: \w+ for zoe-7/);
  });
});

describe('docs/flags-operations.md', () => {
  it('shows commands that do what it says', async () => {
    const run = (...words: string[]) => flagsCommand(system, words);
    await system.set('new_design', { rolloutPercentage: 0, variants: [{ name: 'only', weight: 100 }] });
    await system.set('ttft_pipeline', { rolloutPercentage: 10 });
    const file = join(temporaryFolder(), 'flags.json');
    writeFileSync(file, (await run('export')).out);
    const token = async () => /^([0-9a-f]{12}) operator olga$/m.exec((await run('tokens')).out)?.[1] ?? '';
    const lines = commandLinesOf('docs/flags-operations.md');
    expect(lines.length).toBeGreaterThan(20);
    for (const words of lines) {
      const line = words.join(' ');
      const revision = String((await system.admin('GET', '/admin/flags/ttft_pipeline')).body.revision);
      const real = await Promise.all(words.map(async (word) => (word === '17' ? revision : word === '3f2a…' ? token() : word === 'flags.json' ? file : word === 'src' ? 'e2e' : word)));
      const ran = await run(...real);
      // Nothing was lost, and nobody waits for an approval.
      const refused = /^store (reseed|accept)|^pending approve/.test(line);
      expect([line, ran.problems === '', ran.code]).toEqual([line, !refused, refused ? 1 : 0]);
      // A rollout that runs is in the way of the next one, and the kill switch of a rollout.
      if (line.startsWith('rollout')) await run('rollout', line.startsWith('rollout start') && line.includes('--preset') ? 'abort' : 'resume', 'new_design');
      if (line.startsWith('emergency')) await run('emergency', 'off');
    }
  });
});
