"""The numbers of a table: each is what a script of this repository prints."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import caffe
from caffe.proto import caffe_pb2
from deep_retrieval import cli
from deep_retrieval.paths import ROOT
from deep_retrieval.training.solving import read_text

OFFLINE = 'myPython/offline'
SCRIPTS = {
    'test': 'test.py',
    'test_on_oxford': 'myPython/test/test_on_oxford.py',
    'test_on_cover': 'myPython/test/test_on_cover.py',
    'raw_baseline': f'{OFFLINE}/raw/raw_baseline_retrieval.py',
    'raw_concat': f'{OFFLINE}/raw/raw_concat_retrieval.py',
    'pca_concat': f'{OFFLINE}/pca_concat/pca_concat_retrieval.py',
}
# without and with --tiny: the released net, that with all maps, and the demo's weights of both
WHOLE = ('proto/deploy_resnet101.prototxt', 'proto/deploy_resnet_tiny.prototxt')
BRANCHES = ('proto/offline/pca/pca_features_resnet101_normpython.prototxt',
            'proto/tiny/offline/pca/pca_features_resnet_tiny_normpython.prototxt')
DEMO = ('caffemodel/demo_resnet101.caffemodel', 'caffemodel/demo_tiny.caffemodel')
TRAINED = 'caffemodel/resnet_tiny.caffemodel'   # of the tiny net, by `make metric-demo`
STUDENT = ['test_on_oxford student', 'test_on_cover student']
STUDENTS = 'caffemodel/students'
RELEASED = 'caffemodel/model.caffemodel'
LAST_LINE = re.compile(r'(?:Mean|mAP): ([\d.]+) \((.*)\)')


class Student(NamedTuple):
    """A trained net: its name, its prototxt to describe images with, and its weights."""

    name: str
    proto: str
    weights: str


class Row(NamedTuple):
    """A row of a table: its name's cells, our numbers, the published ones, how ours were made."""

    name: list
    ours: list
    published: list
    protocol: str


def weights_of(tiny):
    """The weights to take where none are given: released or trained ones, or else the demo's."""
    best = ROOT / (TRAINED if tiny else RELEASED)
    return best if best.exists() else ROOT / DEMO[tiny]


def device(gpu):
    """The GPU's number, or -1, with a warning, where it is not there."""
    try:
        if gpu >= 0:
            caffe.set_device(gpu)
        return gpu
    except RuntimeError as error:
        cli.warn(f'{error}; computing on the CPU')
        return -1


def make_missing(args):
    """Make the demo's dataset and weights where they are wanted and not there."""
    if Path(args.dataset) == ROOT / 'datasets/demo' and not os.path.exists(args.dataset):
        run_script(['datasets/make_demo.py'])
    if Path(args.weights) == ROOT / DEMO[args.tiny]:     # kept where they are of this net already
        run_script(['caffemodel/make_demo_model.py', '--proto', str(ROOT / WHOLE[args.tiny]),
                    '--output', str(args.weights)])


def students_in(folder, given):
    """Students by name: those in the folders of a folder, and (name, proto, weights) given.

    folder : STUDENTS, where there may be none yet, if None
    """
    if folder and not os.path.isdir(folder):
        raise ValueError(f'{folder}: there is no such folder of students')
    found = {}
    for path in sorted(Path(folder or ROOT / STUDENTS).glob('*')):
        if not path.is_dir():
            continue
        protos = sorted(path.glob('*deploy*.prototxt'))
        weights = sorted(path.glob('*.caffemodel'), key=_iteration)
        if protos and weights:
            found[path.name] = Student(path.name, str(protos[0]), str(weights[-1]))
        else:
            cli.warn(f'{path}: is no student: a deploy prototxt and a caffemodel are expected')
    found.update((name, Student(name, proto, weights)) for name, proto, weights in given)
    return found


def _iteration(path):
    numbers = re.findall(r'_iter_(\d+)', path.name)
    return (int(numbers[-1]) if numbers else sys.maxsize, path.name)    # a final one has none


class Runner:
    """Runs the commands of a table with the flags of run.py; what they say goes to stderr."""

    def __init__(self, args):
        self.args = args
        self.temp = os.path.join(args.temp_dir, Path(args.dataset).resolve().name)

    def rows(self, table, students):
        """The Rows of a table, and of students that it does not name."""
        wanted = [dict(row) for row in table['rows']]
        known = {row.get('student') for row in wanted}
        wanted += [{'name': [name], 'student': name} for name in students if name not in known]
        rows = []
        for number, row in enumerate(wanted, start=1):
            student = students.get(row.get('student'))
            commands = row.get('commands') or STUDENT * bool(student)
            if commands:
                cli.warn(f'row {number} of {len(wanted)}: {", ".join(map(str, row["name"]))}')
            found = [self.measure(command, student) for command in commands]
            ours = [value for value, _ in found] + ['-'] * (len(table['measures']) - len(found))
            if 'weights' in table['measures'] and found:
                ours[-1] = megabytes(student.weights if student else self.args.weights)
            published = row.get('published', ['-'] * len(table['published']))
            protocol = next((protocol for _, protocol in found), '')
            if not commands:
                folder = os.path.join(self.args.students or STUDENTS, row['student'])
                protocol = f'no student in {folder}'
            if student:
                protocol += f', {Path(student.proto).name}'
            rows.append(Row(row['name'], ours, published, protocol))
        return rows

    def measure(self, command, student=None):
        """The number that a command of tables.yaml prints, and what it says beside it; or '-'."""
        name, net, *flags = shlex.split(command)
        if name == 'test_on_cover' and not self.args.cover_dataset:
            return '-', ''
        lines = run_script([SCRIPTS[name], *self.flags(name, net, student), *flags]).splitlines()
        last = LAST_LINE.fullmatch(lines[-1]) if lines else None
        if last is None:
            raise RuntimeError(f'{SCRIPTS[name]} printed no mean')
        return last.groups()

    def flags(self, name, net, student):
        """The flags that run.py's say; those of the table's command come behind."""
        args = self.args
        flags = {'gpu': args.gpu}
        if student:
            proto = ROOT / student.proto
            flags['weights'] = ROOT / student.weights
            flags['end'] = read_text(proto, caffe_pb2.NetParameter()).layer[-1].top[0]
        else:
            proto = ROOT / {'whole': WHOLE, 'branches': BRANCHES}[net][args.tiny]
            flags['weights'] = args.weights
        flags['proto'] = proto
        flags['temp_dir'] = os.path.join(
            self.temp, student.name if student else Path(args.weights).stem, name)
        if name == 'test_on_cover':
            flags['dataset'] = args.cover_dataset
        else:
            flags.update(dataset=args.dataset, dataset_name=args.dataset_name, S=args.S,
                         eval_binary=args.eval_binary)
        if SCRIPTS[name].startswith(OFFLINE):
            flags['features_dir'] = os.path.join(os.path.dirname(flags['temp_dir']), 'maps')
        words = [word for flag, value in flags.items() for word in (f'--{flag}', str(value))]
        # the demo has fewer images than the published descriptors have numbers
        return words + ['--fewer'] * (name == 'pca_concat')


def megabytes(path):
    """The size of a file, as 187MB."""
    return f'{os.path.getsize(path) / 1e6:.3g}MB'


def run_script(words):
    """Run a script of this repository; returns what it prints. RuntimeError where it fails."""
    done = subprocess.run([sys.executable, str(ROOT / words[0]), *words[1:]],
                          stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f'{words[0]} failed, see the line above')
    return done.stdout
