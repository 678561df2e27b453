"""Scripts run in forks of this process and killed at chosen moments; what a rerun makes of it.

    preload()
    report = try_kills(COMMANDS['gallery'], inputs, work, every=False, moments=2)

A fork of an interpreter that has imported everything starts in milliseconds, so that a command can
be killed hundreds of times. SIGKILL comes before and after each rename (os.rename, os.replace,
os.link) in whichever process of the command makes it, with `every` also before each file is opened
for writing, made or removed, and at random moments.
"""

import ctypes
import itertools
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

import nursery

RENAMES = ('rename', 'replace', 'link')
CHANGES = {'os.mkdir', 'os.remove', 'os.rmdir', 'os.truncate', 'os.symlink', 'os.chmod'}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
POINTS = 60_000             # more than a command has; they fit into a pipe
LIMIT = 60                  # seconds that a command may take
WORKERS_END = 5             # seconds that the workers of a killed command may take
PR_SET_CHILD_SUBREAPER = 36     # <sys/prctl.h>


class Report(NamedTuple):
    """What came of killing a command.

    renames, changes, moments : how often it was killed before or after a rename, before another
        change of the disk, and at a random moment
    faults : list of str, one line each
    seconds : that one run takes
    """

    renames: int
    changes: int
    moments: int
    faults: list
    seconds: float


class Run(NamedTuple):
    """How a run ended.

    status : exit status, negative for a signal
    points : that it reached
    seconds : that it took
    out, errors : what it printed on stdout and stderr
    strays : whether processes of it went on
    """

    status: int
    points: int
    seconds: float
    out: str
    errors: str
    strays: bool


def preload() -> None:
    """Import everything that scripts import, and take the workers of killed commands over."""
    nursery.preload()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Points:
    """The points of a run at which it can be killed, counted in all its processes.

    Each point reads a byte from a pipe, and the process that reads the last one, if `at` is given,
    ends there.
    """

    def __init__(self, at=None):
        self._out, into = os.pipe()
        os.set_blocking(self._out, False)
        self._count = at or POINTS
        os.write(into, b'.' * (self._count - 1) + (b'K' if at else b'.'))
        os.close(into)

    def passed(self):
        """How many have been reached."""
        left = len(os.read(self._out, POINTS))
        os.close(self._out)
        return self._count - left

    def hook(self, every, folder):
        """Make this process, and those that it forks, stop at points; it cannot be undone."""
        for name in RENAMES:
            setattr(os, name, self._around(name, getattr(os, name)))
        if every:
            sys.addaudithook(lambda event, args: self._look(event, args, str(folder)))

    def _around(self, name, function):
        def call(*args, **kwargs):
            self._reach(f'before {name}', args)
            result = function(*args, **kwargs)
            self._reach(f'after {name}', args)
            return result
        return call

    def _look(self, event, args, folder):
        if event in CHANGES:
            self._reach(f'before {event}', args)
        elif event == 'open' and args[2] & WRITING and str(args[0]).startswith(folder):
            self._reach('before open', args[:1])

    def _reach(self, what, args):
        byte = os.read(self._out, 1)
        if byte == b'K':
            paths = ' '.join(map(str, args))
            os.write(2, f'killed {what} {paths}\n'.encode(errors='replace'))
            os.kill(os.getpid(), signal.SIGKILL)


def run(words, folder, at=None, after=None, every=False) -> Run:
    """Run a script, or `-m MODULE`, in a fork with the current folder `folder`.

    at : number of the point at which it is killed, from 1. after : seconds after which it is
    """
    outputs = [folder.with_name(f'{folder.name}.{name}') for name in ('stdout', 'stderr')]
    points, begun = Points(at), time.monotonic()
    pid = os.fork()
    if not pid:
        try:
            _child([str(word) for word in words], folder, outputs, points, every)
        finally:
            os._exit(1)
    if after is not None:
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    seconds, strays = time.monotonic() - begun, _strays(pid)
    told = [path.read_text(errors='replace') for path in outputs]
    return Run(os.waitstatus_to_exitcode(status), points.passed(), seconds, *told, strays)


def _child(words, folder, outputs, points, every):
    os.setsid()
    signal.alarm(LIMIT)
    os.chdir(folder)
    for number, path in enumerate([os.devnull, *outputs]):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, buffering=1, closefd=False) for number, mode in enumerate('rww'))
    os.environ['TMPDIR'] = str(folder)
    points.hook(every, folder)
    nursery.become(words)


def _strays(group):
    """Whether processes of a command that has ended go on; they are ended."""
    # as the subreaper, this process becomes the parent of whatever a command leaves
    end = time.monotonic() + WORKERS_END
    try:
        while time.monotonic() < end:
            if not os.waitpid(-group, os.WNOHANG)[0]:
                time.sleep(0.002)
        os.killpg(group, signal.SIGKILL)
        while True:
            os.waitpid(-group, 0)
    except ChildProcessError:
        return time.monotonic() >= end


def contents(folder, alike=()) -> dict:
    """All entries below a folder: path -> bytes, None for a folder, or where a link leads.

    alike : list of (regular expression of paths, function bytes -> what counts of them)
    """
    found = {}
    for path in sorted(folder.rglob('*')):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_dir():
            found[name] = None
        else:
            found[name] = path.read_bytes()
            for pattern, counts in alike:
                if pattern.fullmatch(name):
                    found[name] = counts(path)
    return found


def differences(found, wanted) -> str:
    """How two `contents` differ, in words; '' if they do not."""
    parts = {'left over': sorted(found.keys() - wanted), 'missing': sorted(wanted.keys() - found),
             'different': sorted(name for name in found.keys() & wanted
                                 if found[name] != wanted[name])}
    return '; '.join(f'{what}: {", ".join(names[:4])}' for what, names in parts.items() if names)


def try_kills(command, inputs: Path, work: Path, every: bool = False, moments: int = 10,
              most: int | None = None, seed: int = 0) -> Report:
    """Kill a command at each point and at random moments, and run it again each time.

    Parameters
    ----------
    command : Command
    inputs : folder of what it reads, see `kill_commands.make_inputs`
    work : folder to work in
    every : also before other changes of the disk than renames
    moments : how many random moments, spread over the time of a run
    most : at this many points, evenly spread and always the last, instead of at all
    """
    start, folder = work / 'start', work / 'run'
    start.mkdir(parents=True)
    for words in command.before:
        well(run(command.filled(words, inputs), start))
    words = command.filled(command.words, inputs)

    def fresh():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(start, folder, symlinks=True)
    fresh()
    whole = well(run(words, folder, every=every))
    wanted, faults, counts = contents(folder, command.alike), [], {'rename': 0, 'change': 0}
    well(run(words, folder))
    if told := differences(contents(folder, command.alike), wanted):
        faults.append(f'a second run: {told}')

    def kill(name, **when):
        fresh()
        killed = run(words, folder, every=every, **when)
        what = [line for line in killed.errors.splitlines() if line.startswith('killed ')]
        moment = f'{name}, {what[-1]}' if what else name
        again = run(words, folder)
        told = differences(contents(folder, command.alike), wanted)
        if killed.strays or again.strays:
            faults.append(f'{moment}: processes went on')
        if again.status:
            faults.append(f'{moment}: the rerun ends with {again.status}: {again.errors[-500:]}')
        elif told:
            faults.append(f'{moment}: {told}')
        return killed, what

    # with threads, a run may reach a point more or less than the one before
    for at in itertools.count(1) if most is None else _spread(whole.points, most):
        _, what = kill(f'point {at}', at=at)
        if what:
            renamed = any(f' {name} ' in what[-1] for name in RENAMES)
            counts['rename' if renamed else 'change'] += 1
        elif most is None:
            break
    chance, done = random.Random(seed), 0
    for i in range(moments):
        killed, _ = kill(f'moment {i}', after=(i + chance.random()) / moments * whole.seconds)
        done += killed.status == -signal.SIGKILL
    return Report(counts['rename'], counts['change'], done, faults, whole.seconds)


def _spread(count, most):
    return sorted({round((i + 1) * count / most) for i in range(most)} - {0})


def well(done: Run) -> Run:
    """Return a run that ended well; RuntimeError for another."""
    if done.status or done.strays:
        raise RuntimeError(f'an undisturbed run ends with {done.status}: {done.errors[-2000:]}')
    return done
