"""Run genuine Caffe 1.0: a Debian 11 system in a folder, with its package python3-caffe.

    genuine.add_chroot_flag(parser)
    with genuine.inside(args.chroot, 'genuine_side.py') as (folder, path):
        genuine.run(args.chroot, f'{path}/genuine_side.py', path)
"""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path


def add_chroot_flag(parser) -> None:
    """Add the flag --chroot."""
    parser.add_argument('--chroot', default=os.environ.get('GENUINE_CAFFE', '/srv/genuine_caffe'),
                        help='folder of the system with genuine Caffe')


@contextmanager
def inside(chroot, script: str):
    """Make a temporary folder in the chroot, and copy a script of this folder into it.

    Yields
    ------
    folder, path : str
        The folder as seen from outside and from inside the chroot.
    """
    if not os.path.isdir(chroot):
        raise ValueError(f'{chroot}: is not a folder; make the chroot and name it by --chroot')
    with tempfile.TemporaryDirectory(dir=os.path.join(chroot, 'tmp')) as folder:
        shutil.copy(Path(__file__).with_name(script), folder)
        yield folder, '/' + os.path.relpath(folder, chroot)


def run(chroot, *command: str, environment=(), stdout=None) -> str:
    """Run a Python script inside the chroot, with one thread per core.

    Parameters
    ----------
    command : path of the script inside the chroot, and its arguments
    environment : additional variables, NAME=VALUE
    stdout : as in subprocess; by default stderr

    Raises
    ------
    RuntimeError
        If the script fails.
    """
    threads = f'OPENBLAS_NUM_THREADS={os.cpu_count()}'
    done = subprocess.run(['chroot', chroot, 'env', threads, *environment, 'python3', *command],
                          stdout=stdout or sys.stderr, text=True)
    if done.returncode:
        raise RuntimeError(f'genuine Caffe in {chroot} failed')
    return done.stdout
