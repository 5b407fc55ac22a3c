"""What this machine cannot measure."""


class UnavailableError(Exception):
    """A contestant or a model cannot be had here; the table says why, in these words."""
