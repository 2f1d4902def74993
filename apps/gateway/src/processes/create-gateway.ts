import cluster from 'node:cluster';
import type { App, Logger } from '@mlx-serving/service-kit';
import { createApp } from '../app.ts';
import type { GatewayConfig } from '../config.ts';
import { GatewayProcesses } from './gateway-processes.ts';
import { boundHeapGrowth } from './heap-growth.ts';
import { SiblingProcess } from './sibling-process.ts';

/** The gateway in one process, or what starts several. @throws StartupError or ConfigError when it cannot run with this configuration */
export async function createGateway(config: GatewayConfig, logger: Logger): Promise<App> {
  boundHeapGrowth();
  if (cluster.isWorker) return createApp(config, logger.child({ replica: config.replicaId }), new SiblingProcess(process));
  return config.processes > 1 ? new GatewayProcesses(config, logger) : createApp(config, logger);
}
