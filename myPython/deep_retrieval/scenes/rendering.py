"""Folders of rendered data: made aside by several processes, and never over anything else.

    if not make_folder(output, {'seed': 0}, {'jpg'}, overwrite=False, fill=render):
        print('is there already')

`manifest.json` in the folder says what it was made from; equal arguments find it and do nothing.
"""

import json
import os
import shutil
import signal
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
from tqdm import tqdm

MANIFEST = 'manifest.json'


def make_folder(output, made_from, entries, overwrite, fill):
    """Have `fill(folder)` write into a new folder that then becomes `output`.

    made_from : dict of the arguments, for the manifest
    entries : names of what rendered folders hold
    overwrite : replace a folder that was rendered from other arguments
    Returns False where the folder is there already. Raises ValueError where it was rendered from
    other arguments, or, whatever `overwrite`, holds something else.
    """
    output = Path(output)
    if output.exists() and any(output.iterdir()):
        manifest = output / MANIFEST
        found = {path.name for path in output.iterdir()}
        if MANIFEST not in found or found - {MANIFEST, *entries}:
            raise ValueError(f'{output}: holds something that was not rendered; choose another '
                             'folder')
        if json.loads(manifest.read_text()) == made_from:
            return False
        if not overwrite:
            raise ValueError(f'{output}: holds another rendered dataset; --overwrite replaces it')
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=output.name + '.', dir=output.parent))
    try:
        fill(aside)
        (aside / MANIFEST).write_text(json.dumps(made_from, indent=1) + '\n')
        aside.chmod(0o755)
        if output.exists():
            shutil.rmtree(output)
        aside.rename(output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return True


def run(jobs):
    """Results, in order, of jobs (function, *arguments) in as many processes as there are cores."""
    with ProcessPoolExecutor(os.cpu_count(), initializer=_start) as pool:
        try:
            running = [pool.submit(*job) for job in jobs]
            return [job.result() for job in tqdm(running, desc='rendering', disable=None)]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start():
    # Ctrl-C reaches all processes; the first one ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def save_jpeg(path, image, quality):
    """Write an image (BGR uint8) as a JPEG of this quality, 0 to 100."""
    _, data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    Path(path).write_bytes(data.tobytes())
