"""Folders of pictures of one colour each, and what they hold."""

import cv2
import numpy as np
from deep_retrieval.making import folders


def save(path, height, width, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), value, np.uint8))


def tree(folder):
    """Bytes of all files in a folder, by their paths, except for the manifest."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*'))
            if path.is_file() and path.name != folders.MANIFEST}
