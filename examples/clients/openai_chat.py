"""The openai client, unmodified: pip install openai

BASE_URL=http://127.0.0.1:8000/v1 REALM_API_KEY=realm_... python openai_chat.py
"""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("REALM_API_KEY", "none"),
)
model = os.environ.get("MODEL", client.models.list().data[0].id)
question = {"role": "user", "content": "What is the capital of France? Answer in one sentence."}

stream = client.chat.completions.create(
    model=model, messages=[question], temperature=0, max_tokens=40, stream=True
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()

schema = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
answer = client.chat.completions.create(
    model=model,
    messages=[question],
    temperature=0,
    max_tokens=40,
    response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
)
print(answer.choices[0].message.content, answer.usage.total_tokens)
