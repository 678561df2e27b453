"""Report the counts of a threshold sweep as text, as CSV and as a plot.

    print('\n'.join(sweep_report.rows(table)))
    sweep_report.save_csv('sweep.csv', table)
"""

import csv
import io
import os
from decimal import Decimal

from deep_retrieval import optional, store
from deep_retrieval.duplicates.thresholds import Table

ROWS = ('pairs', 'images', 'groups')    # counted for each kind
KINDS = ('same-origin', 'unrelated')    # the original's tables say "unrelevant"
# format of a plot -> metadata without a date, so that equal runs give identical files
PLOTS = {'png': {'Software': None}, 'svg': {'Date': None}, 'pdf': {'CreationDate': None}}


def columns(table: Table) -> list[tuple[str, list]]:
    """Return (name, value per threshold) of all counts (int) and shares (float or None)."""
    counts = [(f'{kind} {row}', getattr(counts, row)) for row in ROWS
              for kind, counts in zip(KINDS, (table.same_origin, table.unrelated), strict=True)]
    return [*counts, ('precision', table.precision()), ('recall', table.recall()),
            ('F1', table.f1())]


def rows(table: Table) -> list[str]:
    """Format a Markdown table with one column per threshold, as in the original's README."""
    return _markdown(table.thresholds, columns(table))


def count_rows(table: Table, kind: str) -> list[str]:
    """Format a Markdown table of the same-origin counts only, under the name of a kind."""
    return _markdown(table.thresholds, [(f'{kind} {row}'.strip(), getattr(table.same_origin, row))
                                        for row in ROWS])


def _markdown(thresholds, named):
    texts = [('threshold', [f'{value:f}' for value in thresholds]),
             *((name, [_cell(value) for value in values]) for name, values in named)]
    first = max(len(name) for name, _ in texts)
    widths = [max(map(len, column)) for column in zip(*(cells for _, cells in texts), strict=True)]
    lines = ['| ' + ' | '.join([name.ljust(first), *(value.rjust(width) for value, width in
                                                     zip(values, widths, strict=True))]) + ' |'
             for name, values in texts]
    rule = '|'.join(['', '-' * (first + 2), *('-' * (width + 1) + ':' for width in widths), ''])
    return [lines[0], rule, *lines[1:]]


def verdict(table: Table, precision: Decimal) -> list[str]:
    """Format the threshold with the best F1, and the lowest one with the wanted precision."""
    shares = list(zip(table.precision(), table.recall(), table.f1(), strict=True))

    def tell(place):
        values = zip(('precision', 'recall', 'F1'), shares[place], strict=True)
        return (f'threshold {table.thresholds[place]:f} '
                f'({", ".join(f"{name} {_cell(value)}" for name, value in values)})')

    best, wanted = table.best_f1(), table.reaching(precision)
    # F1 may still increase beyond an end of the range
    edge = {0: 'first', len(shares) - 1: 'last'}.get(best, '') if len(shares) > 1 else ''
    edge = edge and f'; it is the {edge} one, so another range may have a better one'
    return [f'best F1: {"at no threshold" if best is None else tell(best) + edge}',
            f'precision of {precision:f}: '
            f'{"at no threshold" if wanted is None else "from " + tell(wanted)}']


def save_csv(path: str | os.PathLike, table: Table) -> None:
    """Write a CSV file with one line per threshold."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    named = columns(table)
    writer.writerow(['threshold', *(name for name, _ in named)])
    for place, threshold in enumerate(table.thresholds):
        values = [values[place] for _, values in named]
        writer.writerow([f'{threshold:f}', *('' if value is None else value for value in values)])
    store.write(path, text.getvalue())


def plot_kind(path: str | os.PathLike) -> str:
    """Return the format of a plot from its extension: png, svg or pdf; ValueError for another."""
    kind = str(path).rpartition('.')[2].lower()
    if kind not in PLOTS:
        raise ValueError(f'{path}: the name of a plot must end in .png, .svg or .pdf')
    return kind


def check_plot(path: str | os.PathLike) -> None:
    """Raise ValueError for a plot of an unknown format, RuntimeError without matplotlib."""
    plot_kind(path)
    optional.need('matplotlib', 'plots')


def save_plot(path: str | os.PathLike, table: Table) -> None:
    """Plot pairs, precision, recall and F1 against the threshold, as PNG, SVG or PDF."""
    kind = plot_kind(path)
    matplotlib = optional.need('matplotlib', 'plots')
    figure = _draw(optional.need('matplotlib.figure', 'plots').Figure, table)
    with matplotlib.rc_context({'svg.hashsalt': 'sweep'}):
        store.write(path, lambda file: figure.savefig(file, format=kind, dpi=120,
                                                      metadata=PLOTS[kind]))


def _draw(Figure, table):
    """Draw a figure without pyplot, which may need a screen."""
    figure = Figure((10, 4), layout='constrained')
    left, right = figure.subplots(1, 2)
    x = [float(value) for value in table.thresholds]
    colours = ('tab:green', 'tab:red')
    both = (table.same_origin, table.unrelated)
    for kind, counts, colour in zip(KINDS, both, colours, strict=True):
        left.plot(x, counts.pairs, marker='.', color=colour, label=kind)
    left.set(xlabel='threshold', ylabel='pairs', ylim=(0, None))
    shares = (('precision', table.precision(), 'tab:blue'),
              ('recall', table.recall(), 'tab:orange'), ('F1', table.f1(), 'black'))
    for name, values, colour in shares:
        right.plot(x, [float('nan') if value is None else value for value in values], marker='.',
                   label=name, color=colour)
    best = table.best_f1()
    if best is not None:
        right.axvline(x[best], color='grey', linestyle=':',
                      label=f'best F1, {table.thresholds[best]:f}')
    right.set(xlabel='threshold', ylim=(0, 1.02))
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    return figure


def _cell(value):
    if value is None:
        return '-'
    return str(value) if isinstance(value, int) else f'{value:.3f}'
