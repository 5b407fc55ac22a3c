"""Prompts to hear a model speak: questions, wishes, stories, code, and work on small documents.

All is made up from forms and lists, the same for the same random numbers. Nothing of the texts that
a benchmark asks about stands here: a draft must be measured on what it has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from realm.distill import topics
from realm.distill.documents import make_document

Message = dict[str, str]

_ABOUT = (
    "What {is_are} {thing}?",
    "Tell me about {thing}.",
    "Explain {thing} in simple terms.",
    "Explain {thing} to a child.",
    "Explain how {thing} can be understood by a beginner.",
    "Why {is_are} {thing} important?",
    "Give me five interesting facts about {thing}.",
    "What should everyone know about {thing}?",
    "Write a short paragraph about {thing}.",
    "Write an article about {thing}.",
    "Write an introduction to {thing} for students.",
    "What are the advantages and disadvantages of {thing}?",
    "Write a short poem about {thing}.",
    "What is the history of {thing}?",
    "List three common misconceptions about {thing}.",
    "What are the most common questions about {thing}?",
    "How {has_have} {thing} changed over time?",
    "What is the difference between {thing} and {other}?",
    "Compare {thing} and {other}.",
    "How {is_are} {thing} related to {other}?",
    "Write a dialogue between two friends about {thing}.",
    "Make a short quiz about {thing} with answers.",
    "What could {thing} look like in fifty years?",
    "I want to write an essay about {thing}. Give me an outline.",
    "Can you recommend some ways to learn about {thing}?",
    "Describe {thing} in three sentences.",
    "What do experts say about {thing}?",
    "Is it true that {thing} can be dangerous? Explain.",
)
_TASK = (
    "How do I {task}?",
    "How can I {task}? Give me some tips.",
    "What is the best way to {task}?",
    "I want to {task}. Where should I start?",
    "Give me a step by step guide to {task}.",
    "What do I need to {task}?",
    "What mistakes do people make when they try to {task}?",
    "I have never tried to {task}. Can you help me?",
    "Make a checklist for someone who wants to {task}.",
    "How long does it take to {task}?",
    "Write an email to a friend who wants to {task}.",
    "I tried to {task} and failed. What can I do?",
)
_STORY = (
    "Write a short story about {who} who {event}.",
    "Write a story in which {who} {event}.",
    "Tell me a bedtime story about {who}.",
    "Write the first paragraph of a novel about {who} who {event}.",
    "Write a poem about {who}.",
    "Describe a day in the life of {who}.",
)
_CODE = (
    "Write a Python function that {function}.",
    "Write a function in JavaScript that {function}.",
    "Write a Python program that {function} and explain it.",
    "How can I write a C function that {function}?",
)
_WHOLE = (
    "Summarize this text.",
    "Summarize the text in one sentence.",
    "What is the main idea of this text?",
    "Rewrite this text in simpler words.",
    "Rewrite the text so that it sounds more formal.",
    "Correct the mistakes in this text and repeat it.",
    "Repeat the text, but change the tone to friendly.",
    "Give the text a title and list its key points.",
    "List all facts from the text as bullet points.",
    "Turn the text into an email.",
    "Write three questions about this text and answer them.",
    "Copy the first two sentences of the text.",
    "Repeat the text word for word.",
)
_FACTS = (
    "List all names in the text.",
    "List all numbers in the text and what they mean.",
    "Extract the important facts as a list.",
    "Who is mentioned in the text, and what do we learn about them?",
    "Copy every sentence that contains a number.",
    "Write the facts as JSON.",
    "Return a JSON array with the entries of the text.",
    "Make a table of the entries.",
    "What happens when, according to the text?",
)
_FOLLOW_UPS = (
    "Can you say that in simpler words?",
    "Can you give me an example?",
    "Please explain the last point.",
    "Summarize your answer in one sentence.",
    "Thank you. What else should I know?",
    "Why is that so?",
    "Write that as a list.",
    "Are you sure? Please check again.",
    "Make it shorter.",
)
_DOCUMENT_CHARACTERS = 1200
_POOL = 256


@dataclass(slots=True)
class PromptMaker:
    """Conversations, one after the other, each ending with what the user says.

    said: answers of the model itself, which later prompts work on: `remember` adds one.
    """

    random: Random
    said: list[tuple[str, str]] = field(default_factory=list)

    def next(self) -> list[Message]:
        """The next conversation."""
        kinds: Sequence[tuple[Callable[[], list[Message]], int]] = (
            (self._question, 46),
            (self._story, 8),
            (self._code, 6),
            (self._small_document, 14),
            (self._own_document, 16),
            (self._follow_up, 10),
        )
        chosen = self.random.choices([k for k, _ in kinds], [weight for _, weight in kinds])[0]
        return chosen()

    def remember(self, question: str, answer: str) -> None:
        """An answer that was complete; a later one takes an old one's place."""
        if len(self.said) < _POOL:
            self.said.append((question, answer))
        else:
            self.said[self.random.randrange(_POOL)] = (question, answer)

    def _question(self) -> list[Message]:
        random = self.random
        if random.random() < 0.35:
            return _user(random.choice(_TASK).format(task=random.choice(topics.TASKS)))
        thing, other = random.sample(topics.THINGS, 2)
        plural = thing.endswith("s") and not thing.startswith("the ")
        words = {"is_are": "are", "has_have": "have"} if plural else {}
        form = random.choice(_ABOUT)
        return _user(
            form.format_map(
                {"is_are": "is", "has_have": "has", **words, "thing": thing, "other": other}
            )
        )

    def _story(self) -> list[Message]:
        who, event = self.random.choice(topics.PEOPLE), self.random.choice(topics.EVENTS)
        return _user(self.random.choice(_STORY).format(who=who, event=event))

    def _code(self) -> list[Message]:
        function = self.random.choice(topics.FUNCTIONS)
        return _user(self.random.choice(_CODE).format(function=function))

    def _small_document(self) -> list[Message]:
        request = self.random.choice(_FACTS + _WHOLE)
        return self._work(make_document(self.random), request)

    def _own_document(self) -> list[Message]:
        if not self.said:
            return self._small_document()
        _, text = self.random.choice(self.said)
        return self._work(text[:_DOCUMENT_CHARACTERS], self.random.choice(_WHOLE + _FACTS[:5]))

    def _follow_up(self) -> list[Message]:
        if not self.said:
            return self._question()
        question, answer = self.random.choice(self.said)
        return [
            *_user(question),
            {"role": "assistant", "content": answer[:_DOCUMENT_CHARACTERS]},
            *_user(self.random.choice(_FOLLOW_UPS)),
        ]

    def _work(self, document: str, request: str) -> list[Message]:
        if self.random.random() < 0.5:
            return _user(f"{document}\n\n{request}")
        return _user(f"{request}\n\n{document}")


def _user(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]
