"""The `realm` command: one file a command, loaded only when that command is called.

It parses, calls the layers below and prints. It never computes anything of a model itself.
"""
