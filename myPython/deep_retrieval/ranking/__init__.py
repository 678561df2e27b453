"""Ranking by similarity, with query and database expansion, and by diffusion.

    indices, similarities = rank(queries, database)
    indices, similarities = rank(queries, expand_database(database, k=20))

`reranking.METHODS` is a table of these methods by name.
"""

from deep_retrieval.ranking.expansion import alpha_expand_queries, expand_database, expand_queries
from deep_retrieval.ranking.similarity import BLOCK, Hit, rank, similarities, top_k

__all__ = ['BLOCK', 'Hit', 'alpha_expand_queries', 'expand_database', 'expand_queries', 'rank',
           'similarities', 'top_k']
