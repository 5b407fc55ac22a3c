"""What front and engine process say to each other over a local socket."""
