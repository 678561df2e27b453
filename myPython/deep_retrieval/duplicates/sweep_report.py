"""What a sweep of thresholds tells: as text, as CSV and as a picture.

    print('\n'.join(sweep_report.rows(table)))
    sweep_report.save_csv('sweep.csv', table)
"""

import csv
import io

from deep_retrieval.files import write_aside

ROWS = ('pairs', 'images', 'groups')    # counted, of either kind
KINDS = ('same-origin', 'unrelevant')   # as the original's tables name them
# a plot's format -> metadata without a date, so that equal runs give equal bytes
PLOTS = {'png': {'Software': None}, 'svg': {'Date': None}, 'pdf': {'CreationDate': None}}


def columns(table):
    """[(name, value at each threshold)]: counts are int, shares float or None."""
    counts = [(f'{kind} {row}', getattr(counts, row)) for row in ROWS
              for kind, counts in zip(KINDS, (table.same_origin, table.unrelevant))]
    return [*counts, ('precision', table.precision()), ('recall', table.recall()),
            ('F1', table.f1())]


def rows(table):
    """The lines of a Markdown table, a column a threshold, as the original's README has it."""
    return _markdown(table.thresholds, columns(table))


def count_rows(table, kind):
    """The lines of a Markdown table of the same-origin counts alone, named as of a kind."""
    return _markdown(table.thresholds, [(f'{kind} {row}'.strip(), getattr(table.same_origin, row))
                                        for row in ROWS])


def _markdown(thresholds, named):
    texts = [('threshold', [f'{value:f}' for value in thresholds]),
             *((name, [_cell(value) for value in values]) for name, values in named)]
    first = max(len(name) for name, _ in texts)
    widths = [max(map(len, column)) for column in zip(*(values for _, values in texts))]
    lines = ['| ' + ' | '.join([name.ljust(first), *(value.rjust(width) for value, width in
                                                     zip(values, widths))]) + ' |'
             for name, values in texts]
    rule = '|'.join(['', '-' * (first + 2), *('-' * (width + 1) + ':' for width in widths), ''])
    return [lines[0], rule, *lines[1:]]


def verdict(table, precision):
    """Lines that name the threshold of the best F1 and that of a wanted precision."""
    shares = list(zip(table.precision(), table.recall(), table.f1()))

    def tell(place):
        values = zip(('precision', 'recall', 'F1'), shares[place])
        return (f'threshold {table.thresholds[place]:f} '
                f'({", ".join(f"{name} {_cell(value)}" for name, value in values)})')

    best, wanted = table.best_f1(), table.reaching(precision)
    # a maximum at an end of the range may go on rising outside
    edge = {0: 'first', len(shares) - 1: 'last'}.get(best, '') if len(shares) > 1 else ''
    edge = edge and f'; it is the {edge} one, another range may have a better'
    return [f'best F1: {"at no threshold" if best is None else tell(best) + edge}',
            f'precision of {precision:f}: '
            f'{"at no threshold" if wanted is None else "from " + tell(wanted)}']


def save_csv(path, table):
    """Write a line a threshold."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    named = columns(table)
    writer.writerow(['threshold', *(name for name, _ in named)])
    for place, threshold in enumerate(table.thresholds):
        values = [values[place] for _, values in named]
        writer.writerow([f'{threshold:f}', *('' if value is None else value for value in values)])
    write_aside(path, lambda file: file.write(text.getvalue().encode()))


def plot_kind(path):
    """What a plot's name says it is: png, svg or pdf; ValueError for anything else."""
    kind = str(path).rpartition('.')[2].lower()
    if kind not in PLOTS:
        raise ValueError(f'{path}: end the name of a plot in .png, .svg or .pdf')
    return kind


def save_plot(path, table):
    """Draw the pairs, and precision, recall and F1, over the threshold. PNG, SVG or PDF."""
    import matplotlib
    from matplotlib.figure import Figure  # needs no screen, as pyplot may
    figure = Figure((10, 4), layout='constrained')
    left, right = figure.subplots(1, 2)
    x = [float(value) for value in table.thresholds]
    colours = ('tab:green', 'tab:red')
    for kind, counts, colour in zip(KINDS, (table.same_origin, table.unrelevant), colours):
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
    kind = plot_kind(path)
    with matplotlib.rc_context({'svg.hashsalt': 'sweep'}):
        write_aside(path, lambda file: figure.savefig(file, format=kind, dpi=120,
                                                      metadata=PLOTS[kind]))


def _cell(value):
    if value is None:
        return '-'
    return str(value) if isinstance(value, int) else f'{value:.3f}'
