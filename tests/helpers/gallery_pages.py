"""Pictures with names of all kinds, and a gallery of them."""

import os
from pathlib import Path

import cv2
import html_tree
import numpy as np
from deep_retrieval.gallery import pages
from deep_retrieval.gallery.pages import in_folder

NAMES = ['plain.jpg', 'with space.jpg', 'a#b.jpg', 'what?.jpg', '100%.jpg', '100%25.jpg',
         'a&amp;b.jpg', 'say "hi".jpg', "it's.jpg", '<script>alert(1)</script>.jpg',
         'ünïcødé 图像.jpg', 'a:b_c.jpg',
         '{{ 7 * 7 }}.jpg', 'back\\slash.jpg', 'one/same.jpg', 'two/same.jpg', 'new\nline.jpg',
         'javascript:x.jpg']


def make_images(folder):
    """Write one picture of another colour and shape for each of NAMES; returns the folder."""
    for number, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.full((30 + number, 60, 3), (10 * number, 255 - 10 * number, 128), np.uint8)
        path.write_bytes(cv2.imencode('.jpg', image)[1].tobytes())
    return folder


def write_gallery(images, output, entries, **options):
    """Write a gallery of pictures in `images`; returns (Summary, pages as trees by file name)."""
    summary = pages.write(output, entries, in_folder(images), 'A <b> & "title"', **options)
    return summary, {path.name: html_tree.read(path.read_text('utf-8'))
                     for path in Path(output).glob('*.html')}


def content(folder):
    """Bytes of all files in a folder, by their paths."""
    return {os.path.relpath(os.path.join(where, name), folder):
            Path(where, name).read_bytes() for where, _, names in os.walk(folder) for name in names}
