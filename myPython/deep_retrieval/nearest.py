"""Exact search for the images most similar to each query.

    hits = search(photos, describe(model, ['query.jpg']), top=5)    # [[Hit(name, similarity), ...]]
"""

from deep_retrieval import ranking
from deep_retrieval.arguments import whole
from deep_retrieval.feature_shards import FeatureFolder
from deep_retrieval.features import Features, NamedRows, check_comparable, check_described
from deep_retrieval.ranking import Hit


def search(features: Features | FeatureFolder | NamedRows,
           queries: Features | FeatureFolder | NamedRows, top: int = 10) -> list[list[Hit]]:
    """Return the `top` images most similar to each query, most similar first.

    Parameters
    ----------
    features, queries : Features, FeatureFolder or NamedRows
        Made by the same model, with the same L and scales.
    top : int
        Number of hits per query; fewer are returned if there are fewer images.

    Returns
    -------
    list of list of Hit
        One list per query; similarities are cosines.

    Raises
    ------
    ValueError
        The two were made by different models, with another L or at other scales, or differ in
        dimension.
    TypeError
        One of them is not described yet.
    """
    whole('top', top, 1)
    check_described('features', features)
    check_described('queries', queries)
    check_comparable(queries, features)
    indices, similarities = ranking.top_k(queries.rows(), features.rows(), min(top, len(features)))
    return [[Hit(features.names[i], float(value)) for i, value in zip(row, values, strict=True)]
            for row, values in zip(indices, similarities, strict=True)]
