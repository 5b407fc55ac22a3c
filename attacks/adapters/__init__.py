"""Hostile adapters, made on the fly: builders, a table of attacks, and a fuzz run."""
