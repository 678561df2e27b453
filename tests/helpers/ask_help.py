"""What scripts answer to `-h`: asked in forks of one interpreter that has imported nothing.

    python tests/helpers/ask_help.py test.py myPython/train.py      # a JSON object per line
"""

import argparse
import io
import json
import os
import runpy
import sys

parsed = []     # the parser of the script


def ask(words, into):
    """Run a script or `-m MODULE` with -h, and write what came of it as a line of JSON."""
    sys.argv = [*(words[1:] if words[0] == '-m' else words), '-h']
    sys.stdout = io.StringIO()
    status = None
    try:
        if words[0] == '-m':
            runpy.run_module(words[1], run_name='__main__', alter_sys=True)
        else:
            sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
            runpy.run_path(words[0], run_name='__main__')
    except SystemExit as end:
        status = end.code or 0
    modules = sorted({name.partition('.')[0] for name in sys.modules})
    parsers = families(parsed[0]) if parsed else []
    answer = {'script': ' '.join(words), 'status': status, 'help': sys.stdout.getvalue(),
              'modules': modules,
              'subcommands': [name for name, parser in parsers if name and not groups(parser)],
              'without help': [f'{name} {action.dest}'.strip() for name, parser in parsers
                               for action in parser._actions if not action.help]}
    os.write(into, (json.dumps(answer) + '\n').encode())


def families(parser, name=''):
    """(name of the subcommand, parser) of a parser and of those below it."""
    found = [(name, parser)]
    for action in groups(parser):
        action.help = action.help or 'the list of the subcommands says what each does'
        for word, below in action.choices.items():
            found += families(below, f'{name} {word}'.strip())
    return found


def groups(parser):
    """The lists of subcommands of a parser: one or none."""
    return [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]


def remember(parser, *args, known=argparse.ArgumentParser.parse_known_args, **kwargs):
    parsed.append(parser)
    return known(parser, *args, **kwargs)


if __name__ == '__main__':
    argparse.ArgumentParser.parse_known_args = remember
    for script in sys.argv[1:]:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            try:
                ask(script.split(), 1)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
