"""The float32 oracle: transformers on weights that the gguf package dequantised, and what is
compared with it. Nothing here may import Realm's reading, dequantising or computing code."""

import os

THREADS = int(os.environ.get("REALM_ORACLE_THREADS", "2"))
