"""A language whose truth is known: an embedded corpus and GLUE-shaped tasks, pure functions of a seed.

It is the platform's instrument check: a study on it can be judged by what must come out, such as that a
model without positions does worse, since the tasks are decided by word order.
"""

from ablate.data.grammar.documents import document, documents, version
from ablate.data.grammar.tasks import TASKS, task

__all__ = ["TASKS", "document", "documents", "task", "version"]
