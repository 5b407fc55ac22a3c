"""LangChain: pip install langchain-openai

BASE_URL=http://127.0.0.1:8000/v1 REALM_API_KEY=realm_... python langchain_chat.py
"""

import os

from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model=os.environ.get("MODEL", "smollm2"),
    base_url=os.environ.get("BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("REALM_API_KEY", "none"),
    temperature=0,
    max_tokens=40,
)
for piece in model.stream("What is the capital of France? Answer in one sentence."):
    print(piece.content, end="", flush=True)
print()
