"""Answers with the first words of what the model says, and tells how many tokens that took."""

from realm_guest import Outlet, Request, program, respond

WORDS = 5


def answer(request: Request) -> None:
    session = request.model.open()
    session.prefill(request.prompt_ids())
    outlet = Outlet()
    count = 0
    for token in session.tokens(request.max_tokens):
        count += 1
        piece = request.model.decode([token])
        if len((outlet.text + piece.decode(errors="ignore")).split()) > WORDS:
            break
        outlet.send(piece)
    respond({"words": len(outlet.text.split()), "completion_tokens": count})


WitWorld = program(answer)
