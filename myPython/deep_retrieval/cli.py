"""Shared by all scripts: a parser, the choice of a device, and errors in one line.

    def parse_args():
        parser = cli.parser(__doc__)
        parser.add_argument('--S', type=cli.positive, default=800, help='longer side in pixels')
        return parser.parse_args()

    if __name__ == '__main__':
        cli.run(parse_args, main)

Only scripts import this module. It imports nothing heavy, so `--help` is fast.
"""

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deep_retrieval.model import Model

DEBUG = 'DEEP_RETRIEVAL_DEBUG'      # set by --debug, so that worker processes see it too


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds defaults to help texts, except None and False; shows paths relative to the current
    folder."""

    def _get_help_string(self, action):
        if action.default is None or action.default is False:
            return action.help
        if isinstance(action.default, (str, os.PathLike)) and os.path.isabs(action.default):
            from deep_retrieval import paths
            return f'{action.help} (default: {paths.shown(action.default).replace("%", "%%")})'
        return super()._get_help_string(action)


def parser(doc: str, **kwargs) -> argparse.ArgumentParser:
    """Return an ArgumentParser whose description is the first line of a script's docstring."""
    made = argparse.ArgumentParser(description=doc.strip().splitlines()[0],
                                   formatter_class=HelpFormatter, **kwargs)
    add_debug(made)
    return made


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Add the flag --debug."""
    parser.add_argument('--debug', action='store_true', default=argparse.SUPPRESS,
                        help='show the traceback of every error')


def run(parse_args: Callable, main: Callable) -> None:
    """Parse the flags and call `main(args)`; a user error ends in one line and exit status 1.

    Log messages of the library are written to stderr.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):    # file names go out as the disk has them
        sys.stdout.reconfigure(errors='surrogateescape')
    args = parse_args()
    with user_errors(getattr(args, 'debug', False)):
        main(args)


@contextmanager
def user_errors(debug: bool = False) -> Iterator[None]:
    """Turn an error that the user can fix into one line on stderr and exit status 1.

    This applies to ValueError, RuntimeError, OSError and MemoryError. Programming errors keep their
    traceback, and with `debug` all errors do.
    """
    start_logging()
    if debug:
        os.environ[DEBUG] = '1'
    try:
        yield
    except (OSError, ValueError, RuntimeError, MemoryError, ModuleNotFoundError) as error:
        if os.environ.get(DEBUG) or isinstance(error, (NotImplementedError, RecursionError)):
            raise
        fail(error)
    except KeyboardInterrupt:
        if os.environ.get(DEBUG):
            raise
        warn('interrupted')
        sys.exit(130)


def start_logging() -> None:
    """Show the library's log on stderr; each message begins with the script's name."""
    logger = logging.getLogger('deep_retrieval')
    if not logger.handlers:
        logger.addHandler(_Handler())
        logger.setLevel(logging.INFO)
        logger.propagate = False


class _Handler(logging.Handler):
    def emit(self, record):
        warn(record.getMessage())


def fail(error: object) -> None:
    """Print an error as one line on stderr and exit with status 1."""
    if isinstance(error, OSError) and error.filename is not None:
        error = f'{error.filename}: {error.strerror}'
    elif isinstance(error, MemoryError):
        error = f'out of memory: {error}' if str(error) else 'out of memory'
    warn(' '.join(str(error).split()))
    sys.exit(1)


def warn(message: object) -> None:
    """Print a message on stderr, preceded by the script's name."""
    name = os.path.basename(sys.argv[0])
    print(f'{"deep_retrieval" if name == "__main__.py" else name}: {message}', file=sys.stderr)


def add_model_flags(parser: argparse.ArgumentParser, S: int | None = None,
                    weights: str | os.PathLike | None = 'released') -> None:
    """Add the flags that choose a net, its weights, and how images are described.

    S : default longer side in pixels, for a script whose images have a fixed size; by default the
        one in the weights' json, or 800
    weights : default of --weights; None for the released model or, without it, EfficientNet-Lite0
    """
    from deep_retrieval import paths
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument(
        '--weights', type=path, default=paths.WEIGHTS if weights == 'released' else weights,
        help='caffemodel of the net' + ('' if weights else '; by default the released model, '
                                        'caffemodel/model.caffemodel, or else EfficientNet-Lite0'))
    kind = 'the value in the json beside the weights, or {}'
    parser.add_argument('--proto', type=path, help='prototxt of the net; by default '
                        + kind.format('proto/deploy_resnet101.prototxt'))
    parser.add_argument('--S', type=positive, default=S,
                        help='longer side in pixels that images are resized to'
                             + ('' if S else '; by default ' + kind.format(800)))
    parser.add_argument('--L', type=natural, help='levels of the rigid grid, 0 for the whole image '
                        'as one region; by default ' + kind.format(2))
    parser.add_argument('--end', help="blob of the net's descriptor; by default "
                        + kind.format('rmac/normalized'))
    parser.add_argument('--partial_weights', action='store_true',
                        help='accept weights that do not have the same layers as the net')


def add_multires(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --multires, which takes the name of a set of scales; `default` if no name is given."""
    from deep_retrieval import scales
    parser.add_argument('--multires', nargs='?', const=default, default=None,
                        choices=sorted(scales.SCALES),
                        help='sum the descriptors of three scales. papers: S - step, S and S + '
                             'step (250 pixels); original: S / 2, S and 3 S / 2. Without a name: '
                             f'{default}')


def load_model(args: argparse.Namespace) -> 'Model':
    """Load the model selected by the flags of `add_model_flags`, on the selected GPU."""
    from deep_retrieval.model import load_model
    use_device(args.gpu)
    return load_model(args.weights, proto=args.proto, S=args.S, L=args.L, end=args.end,
                      mean=getattr(args, 'mean', None), partial_weights=args.partial_weights)


def use_device(gpu: int) -> None:
    """Compute on the GPU with this number; on the CPU for -1 or, with a warning, without a GPU."""
    import caffe
    # up to a sixth faster; only scripts do it, since it changes malloc for the whole process; a
    # genuine pycaffe lacks the function
    getattr(caffe, 'keep_freed_memory', lambda: None)()
    if gpu >= 0:
        try:
            caffe.set_device(gpu)
            caffe.set_mode_gpu()
            return
        except RuntimeError as error:
            warn(f'{error}; computing on the CPU')
    caffe.set_mode_cpu()


def path(text: str) -> str:
    """An argparse type: a path that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError('a path cannot be empty')
    return text


def positive(text: str) -> int:
    """Argparse type: an integer of at least 1."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """Argparse type: an integer of at least 0."""
    return _at_least(0, text)


def _at_least(least, text):
    try:
        value = int(text)
    except ValueError:
        value = None
    if value is None or value < least:
        raise argparse.ArgumentTypeError(f'{text!r} is not an integer of at least {least}')
    return value
