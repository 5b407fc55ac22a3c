"""LiteLLM, as for any server that speaks OpenAI's protocol: pip install litellm

BASE_URL=http://127.0.0.1:8000/v1 REALM_API_KEY=realm_... python litellm_chat.py
"""

import os

from litellm import completion

answer = completion(
    model="openai/" + os.environ.get("MODEL", "smollm2"),
    api_base=os.environ.get("BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("REALM_API_KEY", "none"),
    messages=[{"role": "user", "content": "What is the capital of France? In one sentence."}],
    temperature=0,
    max_tokens=40,
)
print(answer.choices[0].message.content)
