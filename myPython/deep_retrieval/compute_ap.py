"""Average precision of rankings by the compiled scorer, `eval/compute_ap`.

    dataset = DATASETS['Oxford']('datasets/Oxford')
    rankings = [[dataset.images[i] for i in row] for row in indices]  # a list for each query
    precisions = score(dataset, rankings, 'temp', 'eval/compute_ap')  # {'all_souls_1': 0.502734...}
    print(*report(precisions, 'query_crop roi'), sep='\n')
"""
import math
import os
import subprocess
from pathlib import Path

from deep_retrieval.files import write_aside


class ScoringError(RuntimeError):
    """What keeps a ranking from being scored, in one line."""


def score(dataset, rankings, temp_dir, eval_binary):
    """Average precision of each query of a dataset.

    dataset: a helper of `dataset_helper` (its `queries` and `lab_prefix` are used). rankings: for
    each of `dataset.queries`, in that order, image names with the best first. temp_dir: folder for
    the rankings, `NAME.rnk` with one image name a line; made when missing. eval_binary: path of
    compute_ap. Returns {query name: 0..1}, in the order of the queries. ScoringError when the
    scorer cannot be run, fails or prints no number, and when a ranking cannot be written.
    """
    if len(rankings) != len(dataset.queries):
        raise ScoringError(f'{len(rankings)} rankings were given for the {len(dataset.queries)} '
                           'queries of the dataset')
    scorer = _scorer(eval_binary)
    precisions = {}
    for query, names in zip(dataset.queries, rankings):
        path = Path(temp_dir) / f'{query.name}.rnk'
        write_ranking(path, names)
        precisions[query.name] = _run([scorer, dataset.lab_prefix(query), str(path)])
    return precisions


def mean(precisions: dict) -> float:
    """Return the mean of {query: AP}."""
    return sum(precisions.values()) / len(precisions)


def report(precisions, condition) -> list[str]:
    """Return each query's AP and their mean with its `condition`, in percent, as lines of text.

    precisions : what `score` returns
    """
    return [*(f'{name}: {100 * value:.2f}' for name, value in precisions.items()), '-' * 20,
            f'Mean: {100 * mean(precisions):.2f} ({condition})']


def write_ranking(path, names):
    """Write image names to a file, one a line; the file appears whole or not at all.

    ScoringError for a name that is empty or holds white space (compute_ap splits there), and when
    the file cannot be written.
    """
    path = Path(path)
    for name in names:
        if name.split() != [name]:
            raise ScoringError(f'{path.name}: the image name {name!r} is empty or holds white '
                               'space, where compute_ap would split it: rename the image')
    # file names need not be UTF-8: such bytes pass through as Python's listing has them
    lines = ''.join(f'{name}\n' for name in names).encode('utf-8', 'surrogateescape')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, lambda file: file.write(lines))
    except OSError as error:
        raise ScoringError(f'cannot write the ranking {path}: {error.strerror}') from error


def _scorer(eval_binary):
    """Absolute path of the scorer: a bare name would be looked up in PATH, not in this folder."""
    if not os.path.isfile(eval_binary):
        raise ScoringError(f'no scorer at {eval_binary}: build eval/compute_ap with `make install`')
    if not os.access(eval_binary, os.X_OK):
        raise ScoringError(f'the scorer {eval_binary} is not executable: build it again with '
                           '`make install`, or give the compiled program and not its source')
    return os.path.abspath(eval_binary)


def _run(command):
    """The number a scorer's command prints."""
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
        raise ScoringError(f'the scorer printed {printed!r} for {command[1]}, which is no number')
    return precision
