/** What a client takes from its process's environment when nothing else is said. */
export interface ClientEnvironment {
  /** MLX_SERVING_GATEWAY_ADDRESS: the gateway's gRPC door, `host:port`. Default: `127.0.0.1:50051`. */
  readonly address: string;
  /** MLX_SERVING_API_KEY. Default: none. */
  readonly apiKey: string | undefined;
}

export function clientEnvironment(environment: NodeJS.ProcessEnv = process.env): ClientEnvironment {
  return { address: environment['MLX_SERVING_GATEWAY_ADDRESS'] || '127.0.0.1:50051', apiKey: environment['MLX_SERVING_API_KEY'] || undefined };
}
