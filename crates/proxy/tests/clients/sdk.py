"""Makes the calls named as arguments with OpenAI's SDK and prints what came back, as JSON.

The address and the key come from the environment, as the SDK itself reads them.
"""

import json
import os
import sys

from openai import APIStatusError, OpenAI

client = OpenAI(max_retries=0)
model = "gpt-5.5"
prompt = os.environ["PROMPT"]
messages = [{"role": "user", "content": prompt}]


def responses():
    answer = client.responses.create(model=model, input=prompt)
    return {"text": answer.output_text, "total_tokens": answer.usage.total_tokens}


def responses_stream():
    events = list(client.responses.create(model=model, input=prompt, stream=True))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    last = events[-1]
    total = last.response.usage.total_tokens
    return {"text": "".join(deltas), "last": last.type, "total_tokens": total}


def chat():
    answer = client.chat.completions.create(model=model, messages=messages)
    text = answer.choices[0].message.content
    return {"text": text, "total_tokens": answer.usage.total_tokens}


def chat_stream():
    chunks = list(
        client.chat.completions.create(
            model=model, messages=messages, stream=True, stream_options={"include_usage": True}
        )
    )
    deltas = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    return {"text": "".join(deltas), "total_tokens": chunks[-1].usage.total_tokens}


def models():
    return [model.id for model in client.models.list()]


def outcome(call):
    try:
        return call()
    except APIStatusError as error:
        body = error.body or {}
        return {
            "error": type(error).__name__,
            "status": error.status_code,
            "message": body.get("message"),
            "code": error.code,
            "request_id": error.request_id,
        }


print(json.dumps([outcome(globals()[name]) for name in sys.argv[1:]]))
