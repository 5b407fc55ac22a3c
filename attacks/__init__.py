"""Hostile inputs, made on the fly. One folder for each kind of input; see README.md."""
