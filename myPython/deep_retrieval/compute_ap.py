"""Average precision of rankings by the compiled scorer, `eval/compute_ap`.

    rankings = [[dataset.images[i] for i in row] for row in indices]  # one list per query
    precisions = score(dataset, rankings, 'temp', 'eval/compute_ap')  # {'all_souls_1': 0.502734...}

`metrics.average_precision_oxford` computes the same in Python.
"""

import math
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from deep_retrieval import store

if TYPE_CHECKING:
    from deep_retrieval.datasets import OxfordHelper


class ScoringError(RuntimeError):
    """Why a ranking cannot be scored, in one line."""


def score(dataset: 'OxfordHelper', rankings: list, temp_dir: str | os.PathLike,
          eval_binary: str | os.PathLike, queries: list | None = None) -> dict[str, float]:
    """Return the average precision of each query, 0 to 1, in the order of the queries.

    Parameters
    ----------
    dataset : OxfordHelper
        Its `queries` and `lab_prefix` are used.
    rankings : list of lists of image names, one per query, best first
    temp_dir : path of the folder for the rankings, `NAME.rnk` with one image name per line
    eval_binary : path of compute_ap
    queries : list of Query, optional
        The ranked queries; by default those of the dataset.

    Raises
    ------
    ScoringError
        The scorer cannot be run, fails or does not print a number, or a ranking cannot be written.
    """
    queries = dataset.queries if queries is None else queries
    if len(rankings) != len(queries):
        raise ScoringError(f'{len(rankings)} rankings were given for the {len(queries)} '
                           'queries of the dataset')
    scorer = _scorer(eval_binary)
    precisions = {}
    for query, names in zip(queries, rankings, strict=True):
        path = Path(temp_dir) / f'{query.name}.rnk'
        write_ranking(path, names)
        precisions[query.name] = _run([scorer, dataset.lab_prefix(query), str(path)])
    return precisions


def write_ranking(path: str | os.PathLike, names: list[str]) -> None:
    """Write image names to a file, one per line, atomically.

    Raises
    ------
    ScoringError
        A name is empty or has white space, at which compute_ap would split it, or the file cannot
        be written.
    """
    path = Path(path)
    for name in names:
        if name.split() != [name]:
            raise ScoringError(f'{path.name}: the image name {name!r} is empty or has white '
                               'space, at which compute_ap would split it: rename the image')
    try:
        store.write(path, ''.join(f'{name}\n' for name in names))
    except OSError as error:
        raise ScoringError(f'cannot write the ranking {path}: {error.strerror}') from error


def _scorer(eval_binary):
    """Return the absolute path of the scorer; a bare name would be searched in PATH only."""
    if not os.path.isfile(eval_binary):
        raise ScoringError(f'no scorer at {eval_binary}: build eval/compute_ap with `make install`')
    if not os.access(eval_binary, os.X_OK):
        raise ScoringError(f'the scorer {eval_binary} is not executable: build it again with '
                           '`make install`, or give the compiled program instead of its source')
    return os.path.abspath(eval_binary)


def _run(command):
    """Run a scorer's command and return the number that it prints."""
    try:
        done = subprocess.run(command, capture_output=True, encoding='utf-8', errors='replace')
    except OSError as error:
        raise ScoringError(f'cannot run the scorer {command[0]}: {error.strerror}; build it again '
                           'with `make install`') from error
    if done.returncode:
        told = ' '.join(done.stderr.split()) or 'it printed no reason'
        raise ScoringError(f'the scorer failed on {command[1]} (status {done.returncode}): {told}')
    try:
        precision = float(done.stdout)
    except ValueError:
        precision = math.nan
    if not math.isfinite(precision):
        printed = ' '.join(done.stdout.split())[:80]
        raise ScoringError(f'the scorer printed {printed!r} for {command[1]}, which is not a '
                           'number')
    return precision
