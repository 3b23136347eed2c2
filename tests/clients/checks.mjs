// Named checks against a running server, one line each, as `checks.py` writes them: `ok NAME` or `FAILED NAME: why`.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const { env } = process;
export const URL = env.SLM_URL ?? 'http://127.0.0.1:11434';
// What the test's models are and say; `checks.py` has the same.
export const FOX_MODEL = env.SLM_FOX ?? 'fox';
export const FOX = 'The quick brown fox\njumps over the lazy dog.';
export const ENDLESS_MODEL = env.SLM_ENDLESS ?? 'endless';
export const CALLER_MODEL = env.SLM_CALLER ?? 'caller';
export const THINKER_MODEL = env.SLM_THINKER ?? 'thinker';
export const THOUGHT = 'Two and two.';
export const EMBEDDING_MODEL = env.SLM_EMBEDDING ?? 'bert';
export const TRIAGE_MODEL = 'triage';
export const LABEL_MODEL = env.SLM_LABEL ?? 'sorter';
export const LABELS = ['billing', 'shipping', 'other'];
export const DOUBLE_CHARGE = 'I was charged twice for order 1182';
export const HELLO = [{ role: 'user', content: 'hello' }];
const PATIENCE_MS = 1000 * Number(env.SLM_PATIENCE ?? 60);

export const WEATHER = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Say what the weather will be.',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', maxLength: 8 }, days: { type: 'integer', minimum: 0, maximum: 9 } },
      required: ['city', 'days'],
      additionalProperties: false,
    },
  },
};

const checks = [];

/** Registers an async function as the check of `endpoint` that `what` names. */
export function check(endpoint, what, body) {
  checks.push([`${endpoint}: ${what}`, body]);
}

/** Runs all checks in their order and ends the process: 0 where none failed. The first of the packages is the client. */
export async function run(...packages) {
  const version = (name) => JSON.parse(readFileSync(new globalThis.URL(`node_modules/${name}/package.json`, import.meta.url))).version;
  console.log(`client ${packages.map((name) => `${name} ${version(name)}`).join(' ')}`);
  let failed = 0;
  for (const [name, body] of checks.filter(([name]) => name.includes(process.argv[2] ?? ''))) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`it took longer than ${PATIENCE_MS} ms`)), PATIENCE_MS);
    });
    try {
      await Promise.race([body(), late]);
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}: ${`${error.name}: ${error.message}`.replace(/\s+/g, ' ').slice(0, 600)}`);
      console.error(error);
    }
    clearTimeout(timer);
  }
  process.exit(failed ? 1 : 0);
}

/** The promise fails with an error of this class, whose text has `text` and which has these properties. */
export async function raises(kind, text, properties, promise) {
  const error = await promise.then(
    () => assert.fail(`no ${kind.name} was thrown`),
    (error) => error,
  );
  // Ollama's client does not export its error's class.
  assert.ok(typeof kind === 'string' ? error.name === kind : error instanceof kind, `${error.name}: ${error.message}`);
  assert.ok(error.message.includes(text), `${text} is not in: ${error.message}`);
  for (const [name, value] of Object.entries(properties)) assert.equal(error[name], value, name);
}

/** Everything that an asynchronous iterator gives. */
export async function gathered(iterator) {
  const items = [];
  for await (const item of await iterator) items.push(item);
  return items;
}

export function near(found, expected, by = 1e-4) {
  assert.ok(Math.abs(found - expected) <= by, `${found} is not ${expected}`);
}

export const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
