"""Old names of `store`'s functions, for callers that do not use it yet."""

from deep_retrieval.store import leads_out, write

write_aside = write

__all__ = ['leads_out', 'write_aside']
