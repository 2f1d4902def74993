import { explain, launch } from './launcher.ts';
import { readStartOptions, startHelp } from './options.ts';

// A terminal that was closed must not end the launcher before it has stopped what it started.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

async function main(): Promise<number> {
  const options = readStartOptions(process.argv.slice(2), process.cwd());
  if (options !== null) return launch(options, process.env);
  process.stdout.write(startHelp);
  return 0;
}

process.exitCode = await main().catch(explain);
process.exit();
