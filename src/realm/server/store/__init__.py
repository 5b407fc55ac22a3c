"""Tenants, keys and uploaded items in a database."""
