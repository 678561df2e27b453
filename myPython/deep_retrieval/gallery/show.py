"""Groups or search results as a gallery: one call.

    gallery(groups, photos, 'tmp/gallery')                      # open tmp/gallery/index.html
    gallery({'query.jpg': hits[0]}, photos, 'tmp/gallery')
"""

import os


def gallery(groups, features, output: str | os.PathLike, *, images: str | os.PathLike | None = None,
            title: str = 'Near-duplicate groups', overwrite: bool = False):
    """Write a folder of static HTML pages that show groups of images, or hits of queries.

    Parameters
    ----------
    groups : list of Group, or dict of name to list of Hit
    features : Features or FeatureFolder
        Whose names the groups have; says in which folder the images are.
    output : path
        The folder to make. An older gallery there is replaced.
    images : path, optional
        The folder that names are relative to, if it is not the one that was described.
    title : str
        Heading of the pages.
    overwrite : bool
        Delete what `output` holds, even if it is not a gallery.

    Returns
    -------
    pages.Summary
        How many entries, pages and pictures were written, and what is wrong with which pictures.

    Raises
    ------
    ValueError
        There is nothing to show, or `output` holds something else.
    """
    from deep_retrieval.gallery import pages
    items = groups.items() if isinstance(groups, dict) else [
        (group.anchor, group.hits) for group in groups]
    entries = [pages.Entry(name, [pages.Hit(hit.name, hit.similarity) for hit in hits])
               for name, hits in items]
    if not entries:
        raise ValueError('there is no group to show; a lower threshold finds more')
    folder = images or getattr(features, 'folder', None)
    locate = pages.in_folder(folder) if folder else _as_path
    inputs = [str(folder)] if folder else []
    return pages.write(str(output), entries, lambda name: locate(name) or _as_path(name), title,
                       overwrite=overwrite, inputs=inputs)


def _as_path(name):
    return name if os.path.isfile(name) else None
