"""Hostile guest programs, made on the fly as WASM text, and the ground on which they run."""
