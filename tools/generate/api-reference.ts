/** One parameter of an endpoint, as the gateway's tables have it. */
interface ParameterRow {
  readonly support: string;
  readonly example: unknown;
  readonly note: string;
  readonly beside?: Readonly<Record<string, unknown>>;
}

type Table = Readonly<Record<string, ParameterRow>>;

const gateway = (path: string): string => new URL(`../../apps/gateway/src/${path}`, import.meta.url).href;

/** docs/api.md: every parameter of every endpoint, from the tables that the gateway reads requests with. */
export async function apiReference(): Promise<string> {
  const { chatTable } = (await import(gateway('chat/chat-parameters.ts'))) as { chatTable: Table };
  const { completionTable } = (await import(gateway('completions/completion-parameters.ts'))) as { completionTable: Table };
  const { responseTable } = (await import(gateway('responses/response-parameters.ts'))) as { responseTable: Table };
  return [
    INTRODUCTION,
    section('POST /v1/chat/completions', chatTable),
    section('POST /v1/completions', completionTable),
    section('POST /v1/responses', responseTable),
    CLOSING,
  ].join('\n');
}

function section(title: string, table: Table): string {
  const rows = Object.entries(table).map(([name, { support, example, note, beside }]) => `| \`${name}\` | ${support} | \`${JSON.stringify({ ...beside, [name]: example }).replaceAll('|', '\\|')}\` | ${note.replaceAll('|', '\\|')} |`);
  return ['', `## ${title}`, '', '| parameter | | example | |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

const INTRODUCTION = `# The API

<!-- Generated from the gateway's tables: npm run generate:docs -->

The gateway speaks OpenAI's API on port 3000. A parameter is *supported*, *ignored* (taken, and changes nothing) or *refused*: every value that would change the answer is answered with 400, OpenAI's error object, the parameter's name in \`param\` and the code \`unsupported_value\`. What is in no table is refused as OpenAI does: \`Unrecognized request argument supplied: …\`. A test sends every example below to a running gateway.`;

const CLOSING = `
## Other requests

| request | answer |
| --- | --- |
| \`GET /v1/models\`, \`GET /v1/models/{id}\` | the models of the workers that serve |

## Streams

- \`data:\` events, the last is \`[DONE]\`; \`/v1/responses\` has OpenAI's typed events, numbered, and no \`[DONE]\`.
- The head of an answer waits for the first token, so an earlier error has its status. If there is no token within 15 s, the head goes out with a comment, and a comment follows every 15 s until the first token.
- An error after the head is an event with OpenAI's error object (\`/v1/responses\`: \`response.failed\`, then \`error\`), and then the stream ends without \`[DONE]\`.
- With \`n\`, the answers' chunks are mixed, each with its \`index\`.

## Limits

\`requests\` of \`config/runtime.yaml\`, read again on change: \`max_body_bytes\` (413), \`max_body_depth\`, \`max_messages\`, \`max_choices\` (400), \`timeout_ms\` (504).
`;
