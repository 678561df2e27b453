"""Folders of rendered data: made by several processes, atomically, never replacing other data.

    make_folder('datasets/demo', {'seed': 0}, {'jpg'}, overwrite=False, fill=render)

`manifest.json` in the folder has the arguments that it was made from, and the hashes of its files.
"""

import logging
import os
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from deep_retrieval import store
from deep_retrieval.progress import bar

MANIFEST = 'manifest.json'

logger = logging.getLogger(__name__)


def make_folder(output: str | os.PathLike, made_from: dict, entries: set[str], overwrite: bool,
                fill: Callable[[Path], None]) -> bool:
    """Call `fill(folder)` with a new folder that then becomes `output`.

    Parameters
    ----------
    output : path
    made_from : dict of the arguments, for the manifest
    entries : names of the entries of rendered folders
    overwrite : replace a folder that was rendered with other arguments
    fill : called with an empty folder

    Returns
    -------
    bool
        False if the folder exists already and was rendered with the same arguments.

    Raises
    ------
    ValueError
        The folder was rendered with other arguments, or has changed since, and must not be
        overwritten; or it has contents that were not rendered.
    """
    store.recover(output)
    output = Path(output)
    if output.is_dir() and (found := set(os.listdir(output))):
        if MANIFEST not in found or found - {MANIFEST, *entries}:
            raise ValueError(f'{output}: contains files that were not rendered; choose another '
                             'folder')
        if store.Manifest.inside(output, MANIFEST).check(made_from,
                                                         'redo' if overwrite else 'refuse'):
            logger.info('%s exists already', output)
            return False
    with store.replace_folder(output) as new:
        fill(Path(new))
        store.Manifest.inside(new, MANIFEST).write(made_from, sorted(
            str(path) for path in Path(new).rglob('*') if path.is_file()))
    return True


def run(jobs: Iterable[tuple]) -> list:
    """Call the jobs (function, *arguments) in one process per core; return their results in order.
    """
    with ProcessPoolExecutor(os.cpu_count(), initializer=_start) as pool:
        try:
            with _interrupts_held():
                running = [pool.submit(*job) for job in jobs]
            return [job.result() for job in bar(running, desc='rendering', unit='scene')]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start():
    store.end_with_parent()
    cv2.setNumThreads(1)


@contextmanager
def _interrupts_held():
    """Block Ctrl-C in this block; workers started in it never get it and leave it to the parent."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def save_jpeg(path: str | os.PathLike, image: np.ndarray, quality: int) -> None:
    """Write an image (H x W x 3 uint8, B G R) as a JPEG of this quality, 0 to 100."""
    _, data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    Path(path).write_bytes(data.tobytes())
