"""Generation on the host: sessions that decode, chat templates, stop texts."""

from realm.session.inference import InferenceSession, Piece

__all__ = ["InferenceSession", "Piece"]
