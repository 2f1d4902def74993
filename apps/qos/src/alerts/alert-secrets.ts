import { readFileSync } from 'node:fs';
import { StartupError } from '@mlx-serving/service-kit';
import type { QosConfig } from '../config.ts';
import type { AlertTargets } from './alert-message.ts';

type Secrets = Pick<QosConfig, 'slackUrl' | 'slackUrlFile' | 'pagerdutyUrl' | 'pagerdutyKey' | 'pagerdutyKeyFile' | 'webhookUrl' | 'webhookUrlFile'>;

/** The addresses and keys of the channels, each from its variable or its file. @throws StartupError for a file that cannot be read */
export function readAlertTargets(config: Secrets): AlertTargets {
  return {
    slackUrl: config.slackUrl || readSecret(config.slackUrlFile),
    pagerdutyUrl: config.pagerdutyUrl,
    pagerdutyKey: config.pagerdutyKey || readSecret(config.pagerdutyKeyFile),
    webhookUrl: config.webhookUrl || readSecret(config.webhookUrlFile),
  };
}

function readSecret(path: string): string {
  if (path === '') return '';
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new StartupError(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}
