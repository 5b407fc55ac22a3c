"""Distilling a draft model: hear a target speak, train something small on it, write a GGUF file.

`realm.distill.distill`, which does all of it, needs torch and the gguf package; the command alone
imports it. Nothing of the runtime ever does.
"""
