"""The float32 oracle: transformers on weights that the gguf package dequantised, and what is
compared with it. Nothing here may import Realm's reading, dequantising or computing code."""
