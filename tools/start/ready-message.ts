import type { SystemOptions } from './services.ts';
import type { StateDirectory } from './state-directory.ts';

/** Where everything is, as `--json` prints it. */
export interface SystemUrls {
  readonly model: string;
  readonly gateway: string;
  readonly gatewayGrpc: string;
  readonly admin: string;
  readonly adminTokenFile: string;
  readonly redis: string;
  /** Service name to the base of its /metrics and /health. */
  readonly operations: Readonly<Record<string, string>>;
  readonly state: string;
  readonly pidFile: string;
  readonly childrenFile: string;
}

export function urlsOf({ ports, canary, redisUrl, environment }: SystemOptions, state: StateDirectory): SystemUrls {
  const http = (port: number): string => `http://127.0.0.1:${port}`;
  return {
    model: environment['MODEL'] ?? 'tiny',
    gateway: http(ports.gatewayHttp),
    gatewayGrpc: `127.0.0.1:${ports.gatewayGrpc}`,
    admin: http(ports.admin),
    adminTokenFile: environment['MLX_SERVING_ADMIN_TOKEN_FILE'] ?? state.tokenFile,
    redis: redisUrl,
    operations: {
      gateway: http(ports.gatewayOperations),
      flags: http(ports.flagsOperations),
      qos: http(ports.qosOperations),
      canary: http(ports.canaryOperations),
      admin: http(ports.adminOperations),
      worker: http(ports.workerOperations),
      ...(canary ? { 'canary-worker': http(ports.canaryWorkerOperations) } : {}),
    },
    state: state.path,
    pidFile: state.pidFile,
    childrenFile: state.childrenFile,
  };
}

/** What a person sees when everything is ready. */
export function readyText(urls: SystemUrls): string {
  return `
Ready.
  OpenAI-compatible API  ${urls.gateway}/v1
  gRPC                   ${urls.gatewayGrpc}
  Admin API              ${urls.admin}/admin (token in ${urls.adminTokenFile})
  Logs                   ${urls.state}/logs

Try it:
  curl -N ${urls.gateway}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{"model":"${urls.model}","stream":true,"messages":[{"role":"user","content":"Hello"}]}'

Ctrl-C stops everything.
`;
}
