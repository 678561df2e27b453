"""Shared by the scripts of myPython/test: their flags, and the evaluation with these flags."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deep_retrieval import cli, paths

if TYPE_CHECKING:
    from deep_retrieval.datasets.base import Dataset
    from deep_retrieval.evaluate import Result


def parser(doc: str, S: int | None) -> argparse.ArgumentParser:
    """Return the parser of a script; `doc` is its docstring, `S` the default of --S."""
    made = cli.parser(doc)
    cli.add_model_flags(made, S=S)
    made.add_argument('--temp_dir', default=paths.TEMP, help='folder for features')
    cli.add_multires(made, 'original')
    made.add_argument('--batch_size', type=cli.positive, default=4,
                      help='images of one size that the net takes at once')
    made.add_argument('--skip_bad', action='store_true',
                      help='leave damaged images out of the ranking')
    made.add_argument('--wrong_dir', metavar='FOLDER',
                      help='folder for a picture of each query with its first 10 images, and for '
                           'its wrong answers: the negatives among the first R images, where R is '
                           'the number of positives')
    made.add_argument('--overwrite', action='store_true',
                      help='write into a --wrong_dir that has other files')
    return made


def add_mean(parser: argparse.ArgumentParser, mean: Sequence[float]) -> None:
    """Add --mean, for scripts whose original subtracts its own mean."""
    parser.add_argument('--mean', type=float, nargs=3, metavar=('B', 'G', 'R'), default=mean,
                        help='mean colour to subtract from images')


def evaluate(args: argparse.Namespace, dataset: 'Dataset', **options) -> 'Result':
    """Evaluate with the flags, return the Result, and save wrong answers if --wrong_dir is given.

    options : further arguments of `deep_retrieval.evaluate`
    """
    import deep_retrieval as dr
    from deep_retrieval.gallery import answer_pictures
    if args.wrong_dir:
        answer_pictures.check(args.wrong_dir, args.overwrite)   # fail before the long work
    result = dr.evaluate(cli.load_model(args), dataset, multires=args.multires,
                         cache=args.temp_dir, batch_size=args.batch_size, skip_bad=args.skip_bad,
                         **options)
    if args.wrong_dir:
        answer_pictures.save_answers(args.wrong_dir, dataset, result.answers, args.overwrite,
                                     crop=result.query_crop == 'roi')
    return result
