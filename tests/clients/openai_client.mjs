// OpenAI's JavaScript client against OpenAI's API as slm serves it.

import assert from 'node:assert/strict';
import OpenAI from 'openai';
import * as my from './checks.mjs';

const { check, raises, gathered, near, sum, FOX, FOX_MODEL, HELLO, TRIAGE_MODEL, DOUBLE_CHARGE, WEATHER } = my;
const client = new OpenAI({ baseURL: `${my.URL}/v1`, apiKey: 'any', maxRetries: 0 });
const foxChat = { model: FOX_MODEL, messages: HELLO, temperature: 0 };
const order = {
  type: 'object',
  properties: { customer: { type: 'string', maxLength: 6 }, items: { type: 'integer', minimum: 0, maximum: 9 } },
  required: ['customer', 'items'],
  additionalProperties: false,
};
const image = 'data:image/png;base64,iVBORw0KGgo=';
const refused = (text, promise) => raises(OpenAI.BadRequestError, text, { status: 400, type: 'invalid_request_error' }, promise);
const missing = (promise) => raises(OpenAI.NotFoundError, 'nowhere', { status: 404 }, promise);

check('POST /v1/chat/completions', 'one object with its usage', async () => {
  const reply = await client.chat.completions.create(foxChat);
  const [choice] = reply.choices;
  assert.deepEqual([choice.message.role, choice.message.content, choice.finish_reason], ['assistant', FOX, 'stop']);
  assert.equal(reply.usage.total_tokens, reply.usage.prompt_tokens + reply.usage.completion_tokens);
  assert.ok(reply._request_id);
});

check('POST /v1/chat/completions', 'a stream, and usage where it is asked for', async () => {
  const chunks = await gathered(client.chat.completions.create({ ...foxChat, stream: true, stream_options: { include_usage: true } }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join(''), FOX);
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
});

check('POST /v1/chat/completions', "the client's own stream helper", async () => {
  const stream = client.chat.completions.stream(foxChat);
  assert.equal(await stream.finalContent(), FOX);
  assert.equal((await stream.finalChatCompletion()).choices[0].finish_reason, 'stop');
});

check('POST /v1/chat/completions', 'an object of a schema, parsed', async () => {
  const response_format = { type: 'json_schema', json_schema: { name: 'order', strict: true, schema: order } };
  const reply = await client.chat.completions.parse({ ...foxChat, response_format, max_completion_tokens: 200 });
  const { customer, items } = JSON.parse(reply.choices[0].message.content);
  assert.ok(customer.length <= 6 && items >= 0 && items <= 9);
});

check('POST /v1/chat/completions', "a label of the model's own list is bare, with its probabilities beside it", async () => {
  const messages = [{ role: 'user', content: DOUBLE_CHARGE }];
  const [choice] = (await client.chat.completions.create({ model: my.LABEL_MODEL, messages })).choices;
  const [field] = choice.slm.fields;
  assert.ok(my.LABELS.includes(choice.message.content) && field.value === choice.message.content);
  near(sum(field.probabilities.map((one) => one.probability)), 1);
});

check('POST /v1/chat/completions', "a tool's call, whole, streamed and required", async () => {
  const asked = { ...foxChat, model: my.CALLER_MODEL, tools: [WEATHER] };
  const [choice] = (await client.chat.completions.create(asked)).choices;
  assert.equal(choice.finish_reason, 'tool_calls');
  assert.deepEqual(JSON.parse(choice.message.tool_calls[0].function.arguments), { city: 'Paris', days: 2 });
  const streamed = await client.chat.completions.stream(asked).finalMessage();
  assert.deepEqual(JSON.parse(streamed.tool_calls[0].function.arguments), { city: 'Paris', days: 2 });
  const required = await client.chat.completions.create({ ...foxChat, tools: [WEATHER], tool_choice: 'required' });
  assert.equal(required.choices[0].message.tool_calls[0].function.name, 'get_weather');
});

check('POST /v1/chat/completions', 'a tool that the client runs by itself', async () => {
  const asked = [];
  const tool = { ...WEATHER, function: { ...WEATHER.function, parse: JSON.parse, function: (given) => (asked.push(given), 'rain') } };
  const runner = client.chat.completions.runTools({ ...foxChat, model: my.CALLER_MODEL, tools: [tool] }, { maxChatCompletions: 2 });
  await runner.done().catch(() => {});
  assert.deepEqual(asked[0], { city: 'Paris', days: 2 });
});

check('POST /v1/chat/completions', "an answer's message goes back as it came, and what is not here is told", async () => {
  const { message } = (await client.chat.completions.create({ ...foxChat, model: my.THINKER_MODEL })).choices[0];
  assert.equal(message.reasoning_content, my.THOUGHT);
  const messages = [...foxChat.messages, message, { role: 'user', content: 'again' }];
  const asked = { ...foxChat, messages, store: true, metadata: { a: 'b' }, seed: Number.MAX_SAFE_INTEGER, top_k: 40 };
  const { data, response } = await client.chat.completions.create(asked).withResponse();
  assert.equal(data.choices[0].message.content, FOX);
  assert.match(response.headers.get('warning'), /metadata \(.*store \(/);
});

check('POST /v1/chat/completions', 'log-probabilities', async () => {
  const reply = await client.chat.completions.create({ ...foxChat, logprobs: true, top_logprobs: 2 });
  const entries = reply.choices[0].logprobs.content;
  assert.equal(entries.map((entry) => entry.token).join(''), FOX);
  assert.ok(entries.every((entry) => entry.top_logprobs.length === 2));
});

check('POST /v1/chat/completions', 'aborting a stream ends the work', async () => {
  const started = Date.now();
  const stream = await client.chat.completions.create({ ...foxChat, model: my.ENDLESS_MODEL, stream: true, max_tokens: 100_000 });
  let chunks = 0;
  for await (const _ of stream) if (++chunks === 5) break;
  assert.equal((await client.chat.completions.create(foxChat)).choices[0].message.content, FOX);
  assert.ok(Date.now() - started < 20_000, 'the work went on');
});

check('POST /v1/chat/completions', 'missing models, images, schemas and unknown fields', async () => {
  await missing(client.chat.completions.create({ ...foxChat, model: 'nowhere' }));
  await missing(client.chat.completions.create({ ...foxChat, model: 'nowhere', stream: true }));
  const picture = [{ role: 'user', content: [{ type: 'image_url', image_url: { url: image } }] }];
  await refused('image', client.chat.completions.create({ ...foxChat, messages: picture }));
  const nonsense = { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'nonsense' } } };
  await refused('nonsense', client.chat.completions.create({ ...foxChat, response_format: nonsense }));
  await refused('tempreature', client.chat.completions.create({ ...foxChat, tempreature: 0 }));
});

check('POST /v1/completions', 'one object and a stream', async () => {
  const asked = { model: FOX_MODEL, prompt: 'hello<|answer|>', max_tokens: 4, temperature: 0 };
  const { text } = (await client.completions.create(asked)).choices[0];
  assert.equal(text, 'The quick brown fox');
  const chunks = await gathered(client.completions.create({ ...asked, stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? '').join(''), text);
});

check('POST /v1/embeddings', 'base64, as this client asks for, and numbers', async () => {
  const asked = { model: my.EMBEDDING_MODEL, input: ['the cat', 'a dog'] };
  const coded = await client.embeddings.create(asked);
  const plain = await client.embeddings.create({ ...asked, encoding_format: 'float' });
  coded.data[1].embedding.forEach((number, at) => near(number, plain.data[1].embedding[at], 1e-6));
  near(sum(plain.data[0].embedding.map((number) => number * number)), 1);
});

check('GET /v1/models', 'all of them', async () => {
  const models = await gathered(client.models.list());
  assert.ok(models.some((model) => model.id.startsWith(FOX_MODEL)));
});

check('GET /v1/models/{model}', 'one, and a missing one', async () => {
  assert.equal((await client.models.retrieve(`${FOX_MODEL}:latest`)).object, 'model');
  await missing(client.models.retrieve('nowhere'));
});

check('POST /v1/responses', 'one object and a stream', async () => {
  const asked = { model: FOX_MODEL, input: 'hello', temperature: 0 };
  assert.equal((await client.responses.create(asked)).output_text, FOX);
  const response = await client.responses.stream(asked).finalResponse();
  assert.deepEqual([response.output_text, response.status], [FOX, 'completed']);
  await missing(client.responses.create({ ...asked, model: 'nowhere' }));
});

check('POST /v1/responses', 'a schema and a tool', async () => {
  const text = { format: { type: 'json_schema', name: 'order', strict: true, schema: order } };
  const reply = await client.responses.parse({ model: FOX_MODEL, input: 'hello', text, max_output_tokens: 200, temperature: 0 });
  assert.ok(JSON.parse(reply.output_text).items <= 9);
  const tool = { type: 'function', strict: true, ...WEATHER.function };
  const called = await client.responses.create({ model: my.CALLER_MODEL, input: 'hello', tools: [tool], temperature: 0 });
  assert.equal(called.output.find((item) => item.type === 'function_call').name, 'get_weather');
});

check('POST /v1/decisions', 'typed questions, by a plain post: this client has no method for them yet', async () => {
  const questions = [
    { type: 'predicate', name: 'money', instructions: 'Money is asked back.' },
    { type: 'choice', instructions: 'Which queue?', choices: [{ value: 'billing' }, { value: true }] },
  ];
  const { answers } = await client.post('/decisions', { body: { model: TRIAGE_MODEL, input: DOUBLE_CHARGE, questions } });
  assert.deepEqual(answers.map((answer) => [answer.type, answer.name]), [['predicate', 'money'], ['choice', null]]);
  near(sum(answers[1].probabilities.map((chance) => chance.probability)), 1);
  await refused('questions', client.post('/decisions', { body: { model: TRIAGE_MODEL, input: 'x', questions: [] } }));
});

await my.run('openai');
