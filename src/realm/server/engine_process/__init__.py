"""The process that holds the models: a RuntimeManager behind a local socket."""
