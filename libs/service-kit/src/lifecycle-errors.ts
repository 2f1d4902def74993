/** A reason not to start that the operator can mend: printed as one line, without a stack. */
export class StartupError extends Error {
  override readonly name = 'StartupError';
}

export function portInUse(host: string, port: number): StartupError {
  return new StartupError(`Port ${port} on ${host} is in use. Stop what uses it, or choose other ports with --port-offset N.`);
}
