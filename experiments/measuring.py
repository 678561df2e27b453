"""Measure the numbers of a table, each by one call of the library.

    measurer = Measurer(dataset, 'Oxford', weights, ...)
    rows = measurer.rows(table, students)       # as tables.yaml has the table
"""

import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

from deep_retrieval import cli, paths
from steps import Step, score_covers

# without and with --tiny: the released net, the net with all maps, and the demo weights of both
WHOLE = ('proto/deploy_resnet101.prototxt', 'proto/deploy_resnet_tiny.prototxt')
BRANCHES = ('proto/offline/pca/pca_features_resnet101_normpython.prototxt',
            'proto/tiny/offline/pca/pca_features_resnet_tiny_normpython.prototxt')
DEMO = ('caffemodel/demo_resnet101.caffemodel', 'caffemodel/demo_tiny.caffemodel')
TRAINED = 'caffemodel/resnet_tiny.caffemodel'   # trained tiny net, from `make metric-demo`
RELEASED = 'caffemodel/model.caffemodel'
STUDENTS = 'caffemodel/students'
STUDENT_CALLS = [{'call': 'evaluate', 'query_crop': 'full'}, {'call': 'cover'}]


class Student(NamedTuple):
    """A trained net: its name, its deploy prototxt, and its weights."""

    name: str
    proto: str
    weights: str


class Row(NamedTuple):
    """A row of a table: the cells of its name, our numbers, the published ones, and our method."""

    name: list
    ours: list
    published: list
    protocol: str


def weights_of(tiny: bool) -> Path:
    """Return the default weights: the released or trained ones if they exist, or the demo's."""
    best = paths.ROOT / (TRAINED if tiny else RELEASED)
    return best if best.exists() else paths.ROOT / DEMO[tiny]


def make_missing(dataset, weights, tiny: bool) -> None:
    """Make the demo's dataset and weights if they are selected but do not exist."""
    if Path(dataset) == paths.ROOT / 'datasets/demo' and not os.path.exists(dataset):
        Step('make_demo', {}, [dataset]).run()
    if Path(weights) == paths.ROOT / DEMO[tiny]:    # kept if they are of this net already
        flags = {'proto': paths.ROOT / WHOLE[tiny], 'output': weights}
        Step('make_demo_model', flags, [weights]).run()


def students_in(folder, given) -> dict:
    """Return students by name: those in the subfolders of a folder, and those given.

    Parameters
    ----------
    folder : path, or None for STUDENTS, which may not exist
    given : list of (name, proto, weights)

    Raises
    ------
    ValueError
        The folder does not exist.
    """
    if folder and not os.path.isdir(folder):
        raise ValueError(f'{folder}: there is no such folder of students')
    found = {}
    for path in sorted(Path(folder or paths.ROOT / STUDENTS).glob('*')):
        if not path.is_dir():
            continue
        protos = sorted(path.glob('*deploy*.prototxt'))
        weights = sorted(path.glob('*.caffemodel'), key=_iteration)
        if protos and weights:
            found[path.name] = Student(path.name, str(protos[0]), str(weights[-1]))
        else:
            cli.warn(f'{path}: is not a student (a deploy prototxt and a caffemodel are expected)')
    found.update((name, Student(name, proto, weights)) for name, proto, weights in given)
    return found


def _iteration(path):
    numbers = re.findall(r'_iter_(\d+)', path.name)
    return (int(numbers[-1]) if numbers else sys.maxsize, path.name)    # a final one has none


class Measurer:
    """Measures the rows of a table.

    Parameters
    ----------
    dataset : Dataset
    weights : path
        Caffemodel of the net, for all rows except those of students.
    tiny : bool
        Use the small nets.
    S : int
        Longer side in pixels.
    cover_dataset : path of a folder, or None to leave the column of covers empty
    students : path of a folder, named in the message about a missing student
    eval_binary, temp_dir : paths
        The compiled compute_ap, and the folder for features and rankings.
    """

    def __init__(self, dataset, weights, tiny, S, cover_dataset, students, eval_binary, temp_dir):
        self.dataset, self.weights, self.tiny, self.S = dataset, weights, tiny, S
        self.cover_dataset, self.students = cover_dataset, students or STUDENTS
        self.eval_binary, self.temp_dir = eval_binary, temp_dir

    def rows(self, table: dict, students: dict) -> list[Row]:
        """Return the Rows of a table, and one for each student that it does not name."""
        wanted = [dict(row) for row in table['rows']]
        known = {row.get('student') for row in wanted}
        wanted += [{'name': [name], 'student': name} for name in students if name not in known]
        rows = []
        for number, row in enumerate(wanted, start=1):
            student = students.get(row.get('student'))
            calls = row.get('calls') or STUDENT_CALLS * bool(student)
            if calls:
                cli.warn(f'row {number} of {len(wanted)}: {", ".join(map(str, row["name"]))}')
            rows.append(self._row(table, row, calls, student))
        return rows

    def _row(self, table, row, calls, student):
        found = [getattr(self, f'_{call["call"]}')(
            student, **{key: value for key, value in call.items() if key != 'call'})
            for call in calls]
        ours = [value for value, _ in found] + ['-'] * (len(table['measures']) - len(found))
        if 'weights' in table['measures'] and found:
            ours[-1] = megabytes(student.weights if student else self.weights)
        protocol = (found[0][1] if found else
                    f'no student in {os.path.join(self.students, row["student"])}')
        if student:
            protocol += f', {Path(student.proto).name}'
        published = row.get('published', ['-'] * len(table['published']))
        return Row(row['name'], ours, published, protocol)

    # calls named in tables.yaml: each returns the mAP in percent, or '-', and how it was measured

    def _retrieve(self, _, **options):
        from deep_retrieval.studies.retrieval import retrieve
        return self._of(retrieve(**self._maps(), **options))

    def _retrieve_with_pca(self, _, **options):
        from deep_retrieval.studies.retrieval import retrieve_with_pca
        # the demo has fewer images than the published descriptors have dimensions
        return self._of(retrieve_with_pca(**self._maps(), fewer=True, **options))

    def _evaluate(self, student, **options):
        import deep_retrieval as dr
        proto, weights, end = self._net(student)
        result = dr.evaluate(dr.load_model(weights, proto=proto, end=end, L=2), self.dataset,
                             S=self.S, cache=self.temp_dir, eval_binary=self.eval_binary, **options)
        mean, protocol = self._of(result)
        return mean, f'compute_ap, {protocol}' if student else protocol

    def _cover(self, student, multires=False):
        if not self.cover_dataset:
            return '-', ''
        proto, weights, end = self._net(student)
        mean = score_covers(self.cover_dataset, proto, weights, end, self.temp_dir, multires)
        return 100 * mean, 'VOC 2010'

    def _of(self, result):
        return 100 * result.mean, result.protocol

    def _maps(self):
        return {'dataset': self.dataset, 'proto': paths.ROOT / BRANCHES[self.tiny],
                'weights': self.weights, 'S': self.S, 'eval_binary': self.eval_binary,
                'features_dir': os.path.join(self.temp_dir, 'maps'), 'rankings_dir': self.temp_dir}

    def _net(self, student):
        """Prototxt, weights and descriptor blob; for a student, the top of its last layer."""
        if not student:
            return paths.ROOT / WHOLE[self.tiny], self.weights, 'rmac/normalized'
        from caffe.proto import caffe_pb2
        from deep_retrieval.training.settings import read_prototxt
        net = read_prototxt(student.proto, caffe_pb2.NetParameter())
        return student.proto, student.weights, net.layer[-1].top[0]


def megabytes(path) -> str:
    """Return the size of a file as text, such as 187MB."""
    return f'{os.path.getsize(path) / 1e6:.3g}MB'
