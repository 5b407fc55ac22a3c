"""Realm: a multi-tenant runtime for language models."""
