"""Read and plot loss and learning rate from the log of a training.

    loss, rate = read_log('caffemodel/resnet101_lifted.log')
    check_picture('tmp/loss.png')       # before hours of training
    plot('caffemodel/resnet101_lifted.log', 'tmp/loss.png')
"""

import os
import re

import caffe

from deep_retrieval import store
from deep_retrieval.optional import need

Points = list[tuple[int, float]]


def read_log(path: str) -> tuple[Points, Points]:
    """Read a log in Caffe's format, to which several runs may have been appended.

    Returns
    -------
    loss, rate : lists of (iteration, loss) and (iteration, learning rate)
        By increasing iteration: where a run resumed from a snapshot or started again, later
        entries of earlier runs are left out.
    """
    with open(path, encoding='utf-8', errors='replace') as file:
        text = file.read()
    number = r'([-+.\deE]+|nan|inf)'
    loss = re.findall(rf'Iteration (\d+)(?: \([^)]*\))?, loss = {number}', text)
    rate = re.findall(rf'Iteration (\d+), lr = {number}', text)
    return tuple(_rising((int(i), float(value)) for i, value in pairs) for pairs in (loss, rate))


def _rising(points):
    kept = []
    for point in points:
        while kept and kept[-1][0] >= point[0]:
            kept.pop()
        kept.append(point)
    return kept


def check_picture(path: str) -> None:
    """Raise ValueError if `plot` cannot draw into a file of this name, RuntimeError if nowhere."""
    canvas = need('matplotlib.figure', 'plots').Figure().canvas
    if os.path.isdir(path):
        raise ValueError(f'{path}: is a folder; give the name of a picture')
    if _format(path) not in canvas.get_supported_filetypes():
        raise ValueError(f'{path}: a plot cannot have this ending; known are '
                         f'{", ".join(sorted(canvas.get_supported_filetypes()))}')


def _format(picture):
    return os.path.splitext(picture)[1][1:].lower() or 'png'


def plot(log_file: str, picture: str) -> None:
    """Plot loss and learning rate of a log against iterations; nothing if it has no loss yet."""
    Figure = need('matplotlib.figure', 'plots').Figure      # needs no screen, unlike pyplot
    loss, rate = read_log(log_file)
    if not loss:
        caffe.log(f'{log_file} has no loss yet, so {picture} is not drawn')
        return
    figure = Figure((8, 4.5), layout='constrained')
    axes = figure.subplots()
    axes.plot(*zip(*loss, strict=True), color='tab:blue', label='loss')
    axes.set(xlabel='iteration', ylabel='loss', ylim=(0, None))
    lines = axes.get_lines()
    if rate:
        right = axes.twinx()
        right.plot(*zip(*rate, strict=True), color='tab:orange', drawstyle='steps-post',
                   label='learning rate')
        right.set(ylabel='learning rate', ylim=(0, None))
        lines = [*lines, *right.get_lines()]
    axes.legend(handles=lines, loc='upper right')
    store.write(picture, lambda file: figure.savefig(file, format=_format(picture), dpi=120))
