/** Exits with 0 when the service answers that it is ready, and prints its answer: node healthcheck.mjs URL */
const answer = await fetch(process.argv[2], { signal: AbortSignal.timeout(2_000) }).catch((error) => ({ ok: false, text: () => error.message }));
process.stdout.write(await answer.text());
process.exitCode = answer.ok ? 0 : 1;
