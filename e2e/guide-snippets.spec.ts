/* eslint-disable @typescript-eslint/consistent-type-imports, @typescript-eslint/await-thenable, @typescript-eslint/no-unused-vars -- the snippets are not ours */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { createEngine, type Engine, TtftHint, type TtftPipeline } from '@mlx-serving/client';
import { eventually } from './eventually.ts';
import { root, Stack, stopAll, temporaryFolder } from './stack.ts';

/*
 * The production guide's snippets as they stand there; only the package's name differs. The model that they name is the
 * tiny one under that name, as if it had been downloaded.
 */
const MODEL = 'mlx-community/Qwen2.5-7B-Instruct-4bit';

let stack: Stack;
let opened: Engine | undefined;
const said: unknown[][] = [];

beforeAll(async () => {
  stack = await Stack.start({ env: { MODEL, HF_HUB_OFFLINE: '1', HF_HOME: cacheWithTheModel() } });
  process.env['MLX_SERVING_GATEWAY_ADDRESS'] = stack.urls.gatewayGrpc;
  jest.spyOn(console, 'log').mockImplementation((...values) => void said.push(values));
});
afterAll(async () => {
  opened?.close();
  await stopAll();
});

/** A Hugging Face cache in which the model has been downloaded. */
function cacheWithTheModel(): string {
  const home = temporaryFolder();
  const model = join(home, 'hub', `models--${MODEL.replace('/', '--')}`);
  cpSync(join(root, 'python-worker', 'src', 'mlx_worker', 'models', 'tiny'), join(model, 'snapshots', 'one'), { recursive: true });
  mkdirSync(join(model, 'refs'));
  writeFileSync(join(model, 'refs', 'main'), 'one');
  return home;
}

describe('the guide', () => {
  it('Basic Usage (Transparent)', async () => {
    const written = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
    const engine = await createEngine();
    opened = engine;

    // TTFT pipeline automatically optimizes this request
    const generator = engine.generate({
      model: 'mlx-community/Qwen2.5-7B-Instruct-4bit',
      prompt: 'Hello, how can I help you?',
      maxTokens: 100,
    });

    for await (const chunk of generator) {
      process.stdout.write(chunk.text);
    }
    const parts = written.mock.calls.map(([part]) => part);
    written.mockRestore();
    // What the tiny model says to it may be nothing at all.
    expect(parts.every((part) => typeof part === 'string')).toBe(true);
    expect(generator.result?.usage.completionTokens).toBeGreaterThan(0);
  });

  it('Advanced Usage with Hints, and the events of Monitoring', async () => {
    const engine = opened!;
    const pipeline: TtftPipeline = engine.ttft;

    // Event: stage:queued - Request entered warm queue
    pipeline.on('stage:queued', (streamId, metrics) => {
      console.log(`[${streamId}] Queued: ${metrics.durationMs}ms`);
    });

    // Event: stage:warmed - Tokenization completed
    pipeline.on('stage:warmed', (streamId, metrics) => {
      console.log(`[${streamId}] Warmed: ${metrics.durationMs}ms`);
    });

    // Event: stage:speculated - First token speculated
    // @ts-expect-error -- the guide's own: it does not use what it takes
    pipeline.on('stage:speculated', (streamId, metrics) => {
      console.log(`[${streamId}] Speculated token ready`);
    });

    // Event: stage:firstToken - Actual first token generated
    pipeline.on('stage:firstToken', (streamId, metrics) => {
      console.log(`[${streamId}] First token: ${metrics.durationMs}ms total TTFT`);
    });

    // Speculation hit/miss events
    pipeline.on('speculation:hit', (promptHash, confidence) => {
      console.log(`Speculation hit: ${promptHash} (confidence: ${confidence})`);
    });

    pipeline.on('speculation:miss', (promptHash) => {
      console.log(`Speculation miss: ${promptHash}`);
    });

    // Provide TTFT hint
    const hint: TtftHint = {
      streamId: 'request-123',
      prompt: 'What is the capital of France?',
      model: 'mlx-community/Qwen2.5-7B-Instruct-4bit',
      estimatedTokens: 10,  // Hint: short prompt
      priority: 'high',     // High priority request
    };

    const generator = engine.generate({
      model: hint.model,
      prompt: hint.prompt,
      maxTokens: 50,
      ttftHint: hint,  // Pass hint to pipeline
    });
    expect(await generator.text()).not.toBe('');
    expect(generator.decision?.requestId).toBe('request-123');
    expect(said.flat()).toEqual(expect.arrayContaining([expect.stringMatching(/^\[request-123\] First token: [\d.]+ms total TTFT$/)]));
  });

  it('Statistics, the allowlist and Troubleshooting', async () => {
    const pipeline = await opened!.ttft.ready();
    const speculativeProvider = pipeline;

    // Add prompts to speculation allowlist
    const first = speculativeProvider.addToAllowlist('Hello, how can I help you?');
    const second = speculativeProvider.addToAllowlist('What is the weather today?');
    expect(await Promise.all([first, second])).toEqual([1, 1]);

    // Check if pipeline is enabled
    console.log('Pipeline enabled:', pipeline.isEnabled());

    const queueStats = pipeline.getQueueStats();
    console.log({
      queueSize: queueStats.size,
      maxSize: queueStats.maxSize,
      totalQueued: queueStats.totalQueued,
      totalWarmed: queueStats.totalWarmed,
      hitRate: queueStats.hitRate,
    });

    const speculationStats = pipeline.getSpeculationStats();
    console.log({
      totalHits: speculationStats.totalHits,
      totalMisses: speculationStats.totalMisses,
      hitRate: speculationStats.hitRate,
      candidates: speculationStats.candidateCount,
    });
    expect(said).toContainEqual(['Pipeline enabled:', true]);
    await eventually(() => pipeline.getQueueStats().totalQueued > 0);
    expect(said).toContainEqual([expect.objectContaining({ maxSize: 100 })]);
  });
});
