"""What the commands do alike: Caffe's way of writing flags, and errors in one line."""

import argparse
import sys
from contextlib import contextmanager


class FlagParser(argparse.ArgumentParser):
    """An ArgumentParser that takes `-flag value` and `-flag=value` for `--flag` too, as gflags does.

    Flags with an underscore; `--noflag` and `--flag=false` turn a flag of `add_switch` off.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, allow_abbrev=False,
                         formatter_class=argparse.ArgumentDefaultsHelpFormatter, **kwargs)

    def add_switch(self, name, default, help):
        """A boolean flag: `--name`, `--noname`, `--name=true`, `--name=false`."""
        field = name.lstrip('-')
        self.add_argument(name, nargs='?', const=True, default=default, type=_boolean, help=help,
                          metavar='BOOL')
        self.add_argument(f'--no{field}', dest=field, action='store_false', default=default,
                          help=argparse.SUPPRESS)

    def parse_known_args(self, args=None, namespace=None):
        args = list(sys.argv[1:] if args is None else args)
        known = {option.lstrip('-') for option in self._option_string_actions}
        args = [f'-{arg}' if arg.startswith('-') and not arg.startswith('--')
                and len(arg) > 2 and arg[1:].split('=')[0] in known else arg for arg in args]
        return super().parse_known_args(args, namespace)


def _boolean(text):
    if text.lower() not in ('true', 'false', '1', '0'):
        raise argparse.ArgumentTypeError(f'{text!r} is neither true nor false')
    return text.lower() in ('true', '1')


@contextmanager
def user_errors(name):
    """Turn an error that the user can mend into one line on stderr, after the command's `name`, and exit status 1."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            error = f'{error.filename}: {error.strerror}'
        print(f'{name}: {" ".join(str(error).split())}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f'{name}: interrupted', file=sys.stderr)
        sys.exit(130)
