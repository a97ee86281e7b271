// Makes the calls named as arguments with OpenAI's SDK and prints what came back, as JSON.
//
// The address and the key come from the environment, as the SDK itself reads them. The SDK is
// looked for in the working folder, not beside this file.

import { createRequire } from "node:module";

const { APIError, OpenAI } = createRequire(`${process.cwd()}/`)("openai");

const client = new OpenAI({ maxRetries: 0 });
const model = "gpt-5.5";
const prompt = process.env.PROMPT;
const messages = [{ role: "user", content: prompt }];

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

const calls = {
  async responses() {
    const answer = await client.responses.create({ model, input: prompt });
    return { text: answer.output_text, total_tokens: answer.usage.total_tokens };
  },

  async responses_stream() {
    const events = await all(await client.responses.create({ model, input: prompt, stream: true }));
    const deltas = events.filter((event) => event.type === "response.output_text.delta");
    const last = events.at(-1);
    const text = deltas.map((event) => event.delta).join("");
    return { text, last: last.type, total_tokens: last.response.usage.total_tokens };
  },

  async chat() {
    const answer = await client.chat.completions.create({ model, messages });
    return { text: answer.choices[0].message.content, total_tokens: answer.usage.total_tokens };
  },

  async chat_stream() {
    const options = { model, messages, stream: true, stream_options: { include_usage: true } };
    const chunks = await all(await client.chat.completions.create(options));
    const choices = chunks.flatMap((chunk) => chunk.choices);
    const text = choices.map((choice) => choice.delta.content ?? "").join("");
    return { text, total_tokens: chunks.at(-1).usage.total_tokens };
  },

  async models() {
    return (await all(await client.models.list())).map((model) => model.id);
  },
};

async function outcome(call) {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    return {
      error: error.constructor.name,
      status: error.status,
      message: error.error?.message ?? null,
      code: error.code ?? null,
      request_id: error.requestID ?? null,
    };
  }
}

const outcomes = [];
for (const name of process.argv.slice(2)) outcomes.push(await outcome(calls[name]));
console.log(JSON.stringify(outcomes));
