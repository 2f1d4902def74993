import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { compileFlags, type EvaluationContext, type Explanation, type FlagAnswer, type FlagSet } from '@mlx-serving/evaluation';
import { checkFeatureFlagsFile, DEFAULT_ENVIRONMENT, type FeatureFlagsFile, featureFlagsFile, type FlagConfig, flagInEnvironment, flagsOfFile, segmentsOfFile } from '@mlx-serving/policy';
import { parseYaml } from '@mlx-serving/service-kit';

/** A flag under the names of the file. A flag that there is not is off. */
export interface FeatureConfig {
  readonly enabled: boolean;
  readonly rollout_percentage: number;
  readonly hash_seed: string | undefined;
  readonly strategy: 'hash' | 'random';
}

/** What was decided since the loader was made. */
export interface FeatureFlagStats {
  readonly totalDecisions: number;
  readonly enabledCount: number;
  readonly disabledCount: number;
  /** Share of the decisions that were on, 0 to 100; 0 before the first. */
  readonly actualPercentage: number;
}

export interface FeatureFlagLoaderOptions {
  /** Whose values hold. Default: `development`. */
  readonly environment?: string;
  /** Takes a line for each decision while the file says `log_feature_decisions: true`. Default: none is written. */
  readonly log?: (line: string) => void;
}

interface Loaded {
  readonly file: FeatureFlagsFile;
  readonly configs: ReadonlyMap<string, FlagConfig>;
  readonly flags: FlagSet;
}

interface LoaderEvents {
  decision: [feature: string, key: string | undefined, enabled: boolean];
}

/**
 * Feature flags of a YAML file, without any server (SPEC F16). A decision is made in memory: it never throws and never waits.
 */
export class FeatureFlagLoader extends EventEmitter<LoaderEvents> {
  readonly #path: string;
  readonly #options: FeatureFlagLoaderOptions;
  #loaded: Loaded;
  #enabledCount = 0;
  #disabledCount = 0;

  /** Reads the file. @throws ConfigError with every problem of it, by line and column; Error when it cannot be read */
  constructor(path: string, options: FeatureFlagLoaderOptions = {}) {
    super();
    this.#path = path;
    this.#options = options;
    this.#loaded = this.#load(readFileSync(path, 'utf8'));
  }

  /** Whether a feature, or a sub-feature such as `ttft_pipeline.speculation`, is on for a key. Counted, and told as `decision`. */
  isEnabled(feature: string, key?: string, attributes?: Record<string, unknown>): boolean {
    const { enabled } = this.evaluate(feature, { key, attributes });
    if (enabled) this.#enabledCount++;
    else this.#disabledCount++;
    if (this.#loaded.file.observability.log_feature_decisions) this.#options.log?.(`Feature flag decision: ${feature} for ${key ?? '(no key)'} => ${enabled ? 'enabled' : 'disabled'}`);
    this.emit('decision', feature, key, enabled);
    return enabled;
  }

  /** The answer with its reason and its variant. Not counted. */
  evaluate(feature: string, context: EvaluationContext): FlagAnswer {
    return this.#loaded.flags.evaluate(feature, context);
  }

  /** The answer, and each step on the way to it. Not counted. */
  explain(feature: string, context: EvaluationContext): Explanation {
    return this.#loaded.flags.explain(feature, context);
  }

  getConfig(feature: string): FeatureConfig {
    const config = this.#loaded.configs.get(feature);
    return config ? toFeatureConfig(config) : { enabled: false, rollout_percentage: 0, hash_seed: undefined, strategy: 'hash' };
  }

  /** Every flag by its name, sub-features included. */
  getAllFlags(): Record<string, FeatureConfig> {
    return Object.fromEntries([...this.#loaded.configs].map(([name, config]) => [name, toFeatureConfig(config)]));
  }

  getStats(): FeatureFlagStats {
    const totalDecisions = this.#enabledCount + this.#disabledCount;
    const actualPercentage = totalDecisions === 0 ? 0 : (this.#enabledCount / totalDecisions) * 100;
    return { totalDecisions, enabledCount: this.#enabledCount, disabledCount: this.#disabledCount, actualPercentage };
  }

  /** Whether the kill switch of everything is on. */
  getKillSwitch(): boolean {
    return this.#loaded.file.emergency.kill_switch;
  }

  /** Reads the file again. A file that is invalid changes nothing. @throws like the constructor */
  async reload(): Promise<void> {
    this.#loaded = this.#load(await readFile(this.#path, 'utf8'));
  }

  #load(text: string): Loaded {
    const file = parseYaml(this.#path, text, featureFlagsFile, checkFeatureFlagsFile);
    const environment = this.#options.environment ?? DEFAULT_ENVIRONMENT;
    const configs = new Map([...flagsOfFile(file)].map(([name, config]) => [name, flagInEnvironment(config, environment)]));
    const { kill_switch, rollback_to_baseline } = file.emergency;
    const flags = compileFlags({
      flags: [...configs].map(([name, config]) => ({ name, config, killed: false })),
      segments: [...segmentsOfFile(file)].map(([name, definition]) => ({ name, definition })),
      emergency: { killSwitch: kill_switch, rollbackToBaseline: rollback_to_baseline },
    });
    return { file, configs, flags };
  }
}

function toFeatureConfig({ enabled, rolloutPercentage, hashSeed, strategy }: FlagConfig): FeatureConfig {
  return { enabled, rollout_percentage: rolloutPercentage, hash_seed: hashSeed, strategy };
}
