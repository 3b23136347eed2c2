// Ollama's JavaScript client against all of Ollama's API that it knows.

import assert from 'node:assert/strict';
import { Ollama } from 'ollama';
import * as my from './checks.mjs';

const { check, raises, gathered, near, sum, FOX, FOX_MODEL, HELLO, TRIAGE_MODEL, DOUBLE_CHARGE } = my;
const client = new Ollama({ host: my.URL });
const options = { temperature: 0 };
const queues = { type: 'string', enum: ['billing', 'shipping', 'other'] };
const refused = (status_code, text, promise) => raises('ResponseError', text, { status_code }, promise);

check('POST /api/generate', 'one object with its counts and times', async () => {
  const reply = await client.generate({ model: FOX_MODEL, prompt: 'hello', options });
  assert.deepEqual([reply.response, reply.done, reply.done_reason], [FOX, true, 'stop']);
  for (const name of ['prompt_eval_count', 'eval_count', 'total_duration', 'eval_duration']) assert.ok(reply[name] > 0, name);
});

check('POST /api/generate', 'a stream to its last line', async () => {
  const parts = await gathered(client.generate({ model: FOX_MODEL, prompt: 'hello', options, stream: true }));
  assert.equal(parts.map((part) => part.response).join(''), FOX);
  assert.deepEqual([parts.length > 5, parts.at(-1).done], [true, true]);
});

check('POST /api/generate', 'a label of an enum, the empty prompt, keep_alive 0', async () => {
  const reply = await client.generate({ model: TRIAGE_MODEL, prompt: DOUBLE_CHARGE, format: queues, keep_alive: '2m' });
  assert.equal(JSON.parse(reply.response), 'billing');
  assert.equal((await client.generate({ model: FOX_MODEL })).done_reason, 'load');
  assert.equal((await client.generate({ model: FOX_MODEL, keep_alive: 0 })).done_reason, 'unload');
});

check('POST /api/chat', 'one object and a stream', async () => {
  const reply = await client.chat({ model: FOX_MODEL, messages: HELLO, options });
  assert.deepEqual([reply.message.role, reply.message.content], ['assistant', FOX]);
  const parts = await gathered(client.chat({ model: FOX_MODEL, messages: HELLO, options, stream: true }));
  assert.equal(parts.map((part) => part.message.content).join(''), FOX);
});

check('POST /api/chat', 'a closed form, a limit and log-probabilities', async () => {
  const messages = [{ role: 'user', content: DOUBLE_CHARGE }];
  const label = await client.chat({ model: TRIAGE_MODEL, messages, format: queues });
  assert.equal(JSON.parse(label.message.content), 'billing');
  const request = { model: FOX_MODEL, messages: HELLO, options: { ...options, num_predict: 3 }, logprobs: true, top_logprobs: 2 };
  const limited = await client.chat(request);
  assert.deepEqual([limited.message.content, limited.done_reason], ['The quick brown', 'length']);
  assert.deepEqual(limited.logprobs.map((entry) => entry.top_logprobs.length), [2, 2, 2]);
});

check('POST /api/chat', "a label of the model's own list is bare, with its probabilities beside it", async () => {
  const reply = await client.chat({ model: my.LABEL_MODEL, messages: [{ role: 'user', content: DOUBLE_CHARGE }] });
  const [field] = reply.slm.fields;
  assert.ok(my.LABELS.includes(reply.message.content) && field.value === reply.message.content);
  near(sum(field.probabilities.map((one) => one.probability)), 1);
});

check('POST /api/chat', "a tool's call, whole and streamed, and its result", async () => {
  const request = { model: my.CALLER_MODEL, messages: HELLO, tools: [my.WEATHER], options };
  const reply = await client.chat(request);
  const expected = [{ name: 'get_weather', arguments: { city: 'Paris', days: 2 } }];
  assert.deepEqual(reply.message.tool_calls.map((call) => ({ name: call.function.name, arguments: call.function.arguments })), expected);
  const parts = await gathered(client.chat({ ...request, stream: true }));
  assert.equal(parts.flatMap((part) => part.message.tool_calls ?? []).length, 1);
  const messages = [...HELLO, reply.message, { role: 'tool', content: 'rain', tool_name: 'get_weather' }];
  assert.ok((await client.chat({ ...request, messages })).prompt_eval_count > reply.prompt_eval_count + 20);
});

check('POST /api/chat', 'aborting a stream ends the work', async () => {
  const started = Date.now();
  const stream = await client.chat({ model: my.ENDLESS_MODEL, messages: HELLO, stream: true, options: { num_predict: 100_000 } });
  let parts = 0;
  await raises('AbortError', 'abort', {}, (async () => {
    for await (const part of stream) {
      assert.ok(!part.done);
      if (++parts === 5) stream.abort();
    }
  })());
  assert.equal((await client.chat({ model: FOX_MODEL, messages: HELLO, options })).message.content, FOX);
  assert.ok(Date.now() - started < 20_000, 'the work went on');
});

check('POST /api/chat', 'missing models, images, schemas and options are its ResponseError', async () => {
  await refused(404, 'nowhere', client.chat({ model: 'nowhere', messages: HELLO }));
  await refused(404, 'nowhere', client.chat({ model: 'nowhere', messages: HELLO, stream: true }));
  const picture = [{ role: 'user', content: 'what is this?', images: [new Uint8Array([137, 80, 78, 71])] }];
  await refused(400, 'images', client.chat({ model: FOX_MODEL, messages: picture }));
  await refused(400, 'nonsense', client.chat({ model: FOX_MODEL, messages: HELLO, format: { type: 'nonsense' } }));
  await refused(400, 'tempreature', client.chat({ model: FOX_MODEL, messages: HELLO, options: { tempreature: 0 } }));
});

check('POST /api/embed', 'one text and several', async () => {
  const { embeddings } = await client.embed({ model: my.EMBEDDING_MODEL, input: ['the cat', 'a dog'] });
  assert.equal(embeddings.length, 2);
  near(sum(embeddings[0].map((number) => number * number)), 1);
  await refused(404, 'nowhere', client.embed({ model: 'nowhere', input: 'x' }));
});

check('POST /api/embeddings', 'the older form', async () => {
  assert.ok((await client.embeddings({ model: my.EMBEDDING_MODEL, prompt: 'the cat' })).embedding.length > 8);
});

check('GET /api/tags', 'every model with its details', async () => {
  const fox = (await client.list()).models.find((model) => model.name === `${FOX_MODEL}:latest`);
  assert.deepEqual([fox.model, fox.details.format, fox.digest.length], [`${FOX_MODEL}:latest`, 'gguf', 64]);
  assert.ok(!Number.isNaN(Date.parse(fox.modified_at)));
});

check('GET /api/ps', 'what is loaded and until when', async () => {
  await client.generate({ model: FOX_MODEL, keep_alive: -1 });
  const fox = (await client.ps()).models.find((model) => model.name === `${FOX_MODEL}:latest`);
  assert.ok(Date.parse(fox.expires_at) > Date.now() && fox.size > 0);
});

check('POST /api/show', "details and the GGUF's own entries", async () => {
  const shown = await client.show({ model: FOX_MODEL });
  assert.equal(shown.model_info['general.architecture'], 'llama');
  assert.ok(shown.capabilities.includes('completion'));
  await refused(404, 'nowhere', client.show({ model: 'nowhere' }));
});

check('POST /api/create', 'a model from another, streamed or not', async () => {
  const request = { model: 'made-by-js', from: FOX_MODEL, system: 'Be brief.', parameters: { temperature: 0, stop: ['.'] } };
  assert.equal((await gathered(client.create({ ...request, stream: true }))).at(-1).status, 'success');
  assert.equal((await client.create(request)).status, 'success');
  assert.equal((await client.generate({ model: 'made-by-js', prompt: 'hello' })).response, FOX.slice(0, -1));
});

check('POST /api/copy', 'a second name', async () => {
  assert.equal((await client.copy({ source: FOX_MODEL, destination: 'copied-by-js' })).status, 'success');
  await refused(404, 'nowhere', client.copy({ source: 'nowhere', destination: 'copied-by-js' }));
});

check('DELETE /api/delete', 'by `name`, as this client says it', async () => {
  assert.equal((await client.delete({ model: 'copied-by-js' })).status, 'success');
  await refused(404, 'copied-by-js', client.delete({ model: 'copied-by-js' }));
});

const registry = process.env.SLM_TEST_REGISTRY;
if (registry) {
  check('POST /api/push', 'to a registry and back, by `name`, with and without a stream', async () => {
    const model = `${registry}/library/fox-js`;
    await client.copy({ source: FOX_MODEL, destination: model });
    assert.equal((await client.push({ model, insecure: true })).status, 'success');
    await client.delete({ model });
    const parts = await gathered(client.pull({ model, insecure: true, stream: true }));
    assert.deepEqual([parts[0].status, parts.at(-1).status], ['pulling manifest', 'success']);
  });
}

check('GET /api/version', 'a version', async () => {
  assert.match((await client.version()).version, /^\d+\.\d+/);
});

check('POST /v1/systemone', 'typed questions by this client', async () => {
  const questions = {
    money: { type: 'noul', instructions: 'Is money asked back?' },
    queue: { type: 'choice', instructions: 'Which queue?', criteria: { billing: null, shipping: 'parcels' } },
  };
  const { answers, usage } = await client.systemone({ model: TRIAGE_MODEL, state: DOUBLE_CHARGE, questions });
  near(sum(Object.values(answers.queue.probabilities)), 1);
  assert.ok(answers.money.noul >= 0 && answers.money.noul <= 1 && usage.input_tokens > 0);
  await refused(404, 'nowhere', client.systemone({ model: 'nowhere', state: 'x', questions }));
});

await my.run('ollama');
