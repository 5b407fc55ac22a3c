#!/bin/sh
# Everything with curl: BASE_URL=http://127.0.0.1:8000 REALM_API_KEY=realm_... sh curl.sh
set -eu
url=${BASE_URL:-http://127.0.0.1:8000}
key=${REALM_API_KEY:-none}
model=${MODEL:-smollm2}

ask() {
  curl --fail-with-body --silent --show-error --no-buffer --retry 3 "$url$1" \
    -H "Authorization: Bearer $key" -H "Content-Type: application/json" --data "$2"
  echo
}

curl --fail-with-body --silent --show-error "$url/v1/models" -H "Authorization: Bearer $key"
echo
ask /v1/chat/completions '{"model": "'"$model"'", "temperature": 0, "max_tokens": 40,
  "messages": [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]}'
ask /v1/completions '{"model": "'"$model"'", "temperature": 0, "max_tokens": 8, "stream": true,
  "prompt": "One, two, three,"}'
ask /v1/embeddings '{"model": "'"$model"'", "input": ["a text", "another"]}' | cut -c 1-120
