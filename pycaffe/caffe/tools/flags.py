"""Shared by the commands: flags in the style of gflags, and errors in one line."""

import argparse
import sys
from contextlib import contextmanager


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to the help of a flag that has one."""

    def _get_help_string(self, action):
        return super()._get_help_string(action) if action.default else action.help


class FlagParser(argparse.ArgumentParser):
    """An ArgumentParser with flags as in gflags: `-flag value` means `--flag=value`.

    A switch never takes the next word: `--flag`, `--noflag`, `--flag=true`, `--flag=false`.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, allow_abbrev=False, formatter_class=HelpFormatter, **kwargs)
        self._switches = set()

    def add_switch(self, name, help):
        """Add a flag that is off by default."""
        self._switches.add(f'--{name}')
        self.add_argument(f'--{name}', action='store_true', help=help)
        self.add_argument(f'--no{name}', dest=name, action='store_false', default=False,
                          help=argparse.SUPPRESS)

    def parse_known_args(self, args=None, namespace=None):
        args = list(sys.argv[1:] if args is None else args)
        end = args.index('--') if '--' in args else len(args)   # only positionals follow
        args[:end] = [self._as_argparse_has_it(arg) for arg in args[:end]]
        return super().parse_known_args(args, namespace)

    def _as_argparse_has_it(self, arg):
        name, equals, value = arg.lstrip('-').partition('=')
        flag = f'--{name}'
        if not arg.startswith('-') or len(name) < 2 or flag not in self._option_string_actions:
            return arg
        if flag not in self._switches or not equals:
            return flag + equals + value
        if value.lower() not in ('true', 'false', '1', '0'):
            self.error(f'argument {flag}: {value!r} is neither true nor false')
        return flag if value.lower() in ('true', '1') else f'--no{name}'


@contextmanager
def user_errors(name):
    """Turn an error that the user can fix into one line `name: error` on stderr and status 1."""
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
