"""check_on_cover.py as a user runs it: groups, their folders, counts and sweeps."""

import os
import stat
import sys

import check_on_cover
import numpy as np
import pytest
from conftest import ROOT, assert_one_line, run_script
from deep_retrieval import subcommands
from deep_retrieval.duplicates import cover_groups, group_folders, mapped_files

SCRIPT = ROOT / 'myPython/check_on_cover.py'
NAMES = ['a_1.jpg', 'b c.jpg', 'x:d.jpg', 'one/e.jpg', 'two/e.jpg', '.f%.jpg', 'ü.png', 'h']
# a chain a - b - d - e, of which a and d are not alike; a pair; h is alone
PAIRS = {(0, 1): 0.9, (1, 2): 0.8, (2, 3): 0.7, (0, 2): 0.62, (1, 3): 0.61, (4, 5): 0.65}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a mapped file, the images that it names, and ground truth; we are in it."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        path = tmp_path / 'images' / (name if '.' in name else f'{name}.jpg')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'picture {name}')
    write_mapped(PAIRS)
    groups = [('7', NAMES[:4]), ('8', NAMES[4:5]), ('9', NAMES[6:])]
    (tmp_path / 'groups.txt').write_text(''.join(
        f'{key}\t{" ".join(map(mapped_files.encode, names))}\n' for key, names in groups))
    return tmp_path


def write_mapped(pairs, path='mapped.txt'):
    lines = {}
    for (i, j), score in pairs.items():
        lines.setdefault(NAMES[i], []).append((NAMES[j], score))
        lines.setdefault(NAMES[j], []).append((NAMES[i], score))
    mapped_files.write(path, [(name, sorted(items, key=lambda item: (-item[1], item[0])))
                              for name, items in sorted(lines.items())])


def call(capsys, mode, **flags):
    """Run a subcommand here; returns what it prints and what it says."""
    argv = [mode]
    for name, value in flags.items():
        argv += [f'--{name}'] if value is True else [f'--{name}', str(value)]
    subcommands.run(check_on_cover.__doc__, check_on_cover.MODES, check_on_cover.FLAGS, argv)
    return capsys.readouterr()


def fails(capsys, mode, *words, **flags):
    with pytest.raises(SystemExit) as error:
        call(capsys, mode, **flags)
    told = capsys.readouterr().err
    assert error.value.code == 1 and len(told.strip().splitlines()) >= 1
    for word in words:
        assert word in told.splitlines()[-1]


def tree(path):
    return {os.path.relpath(os.path.join(place, file), path)
            for place, _, files in os.walk(path) for file in files if file[0] != '.'}


GROUPS = dict(mapped='mapped.txt', min_img_num_per_group=1, output='grouping.txt')


# groups

def test_groups_by_anchor(folder, capsys):
    told = call(capsys, 'groups', **GROUPS, threshold='0.7')
    found = list(mapped_files.read('grouping.txt'))
    assert found == [('a_1.jpg', [('b c.jpg', 0.9)]),
                     ('b c.jpg', [('a_1.jpg', 0.9), ('x:d.jpg', 0.8)]),
                     ('one/e.jpg', [('x:d.jpg', 0.7)]),
                     ('x:d.jpg', [('b c.jpg', 0.8), ('one/e.jpg', 0.7)])]
    assert told.out.splitlines()[-1] == ('grouping.txt: 4 groups, 4 images, 6 pairs with their '
                                         'anchors')
    call(capsys, 'groups', **{**GROUPS, 'min_img_num_per_group': 2}, threshold='0.7', run_groups=1)
    assert list(mapped_files.read('grouping.txt')) == found[1:2]


def test_components(folder, capsys):
    told = call(capsys, 'groups', **GROUPS, components=True)
    # b and d have three pairs each; .f and two/e one
    assert list(mapped_files.read('grouping.txt')) == [
        ('b c.jpg', [('a_1.jpg', 0.9), ('x:d.jpg', 0.8), ('one/e.jpg', 0.7)]),
        ('.f%.jpg', [('two/e.jpg', 0.65)])]
    assert told.out.splitlines()[:2] == [
        'b%20c.jpg: 4 images, 5 pairs, lowest similarity below 0.61, connected up to 0.7',
        '.f%25.jpg: 2 images, 1 pairs, lowest similarity 0.65, connected up to 0.65']
    told = call(capsys, 'groups', **GROUPS, components=True, giant=3)
    assert 'giant of 4 images' in told.err and '0.7' in told.err


def components_at(pairs, threshold):
    """Components by repeated merging."""
    parts = [{i} for i in range(30)]
    for (i, j), score in pairs.items():
        if score >= threshold:
            a, b = (next(part for part in parts if k in part) for k in (i, j))
            if a is not b:
                parts.remove(b)
                a |= b
    return [part for part in parts if len(part) > 1]


@pytest.mark.parametrize('seed', range(5))
def test_components_equal_merging_at_every_threshold(seed):
    random = np.random.default_rng(seed)
    pairs = {tuple(sorted(random.choice(30, 2, replace=False).tolist())):
             round(random.uniform(0.5, 1), 2) for _ in range(40)}
    lines = [(str(i), [(str(j), score) for (a, j), score in pairs.items() if a == i])
             for i in range(30)]
    groups = cover_groups.components(lines, 0.6)
    expected = components_at(pairs, 0.6)
    assert sorted(sorted(map(int, group.names)) for group in groups) == \
        sorted(map(sorted, expected))
    for anchor, hits, detail in groups:
        items = [(hit.name, hit.similarity) for hit in hits]
        members = {int(anchor), *map(int, dict(items))}
        inside = {pair: score for pair, score in pairs.items() if members.issuperset(pair)}
        assert detail.images == len(members)
        assert detail.pairs == sum(score >= 0.6 for score in inside.values())
        assert detail.known == (len(inside) == len(members) * (len(members) - 1) // 2)
        assert detail.lowest == min((inside if detail.known else pairs).values())
        for threshold in np.arange(60, 101) / 100:
            left = {int(anchor)} | {int(item) for item, score in items if score >= threshold}
            part = [part for part in components_at(pairs, threshold) if int(anchor) in part]
            assert left == (part[0] if part else {int(anchor)})
        assert detail.link == min(dict(items).values())
        assert items == sorted(items, key=lambda item: (-item[1], item[0]))


def test_any_name_is_told_in_one_line(folder, capsys):
    (folder / 'odd.txt').write_bytes(b'new%0Aline\t\xff.jpg:0.9\n\xff.jpg\tnew%0Aline:0.9\n'
                                     b'c\td:0.8\n')
    told = call(capsys, 'groups', **{**GROUPS, 'mapped': 'odd.txt'}, show=2).out
    assert told.splitlines() == ['new%0Aline: 2 images', '?.jpg: 2 images',
                                 '... and 1 more (--show)',
                                 'grouping.txt: 3 groups, 4 images, 3 pairs with their anchors']
    assert b'\xff.jpg\t' in (folder / 'grouping.txt').read_bytes()


def test_no_group_is_an_error(folder, capsys):
    fails(capsys, 'groups', 'mapped.txt', '--min_img_num_per_group', mapped='mapped.txt')
    fails(capsys, 'groups', 'threshold', **GROUPS, threshold='0.95', components=True)
    (folder / 'mapped.txt').write_text('a\n')
    fails(capsys, 'groups', 'no group', **GROUPS, components=True)


# folders

PICTURES = dict(img_dir='images', dst_dir='out')


def test_pictures_of_groups(folder, capsys):
    call(capsys, 'groups', **GROUPS, **PICTURES, threshold='0.65')
    assert {name for name in tree('out') if 'two' in name or '2Ef' in name} == {
        'two%2Fe.jpg/two%2Fe_1.0.jpg', 'two%2Fe.jpg/%2Ef%25_0.65.jpg',
        '%2Ef%25.jpg/%2Ef%25_1.0.jpg', '%2Ef%25.jpg/two%2Fe_0.65.jpg'}
    assert (folder / 'out/a_1.jpg/b c_0.9.jpg').read_text() == 'picture b c.jpg'
    assert list(mapped_files.read('out/grouping.txt')) == list(mapped_files.read('grouping.txt'))
    read = group_folders.read('out')
    assert {group_folders.anchor_of(group): {item: score for _, item, score in pictures}
            for group, pictures in read.items()} == {
        anchor: {anchor: 1.0, **dict(items)} for anchor, items in mapped_files.read('grouping.txt')}


def test_originals_stay_and_links_are_by_choice(folder, capsys):
    before = {name: (folder / 'images' / name).read_text() for name in tree('images')}
    call(capsys, 'groups', **GROUPS, **PICTURES)
    assert os.stat('images/b c.jpg').st_nlink == 1
    call(capsys, 'groups', **GROUPS, img_dir='images', dst_dir='linked', link=True)
    assert os.stat('images/b c.jpg').st_nlink > 1
    assert tree('linked') == tree('out')
    assert {name: (folder / 'images' / name).read_text() for name in tree('images')} == before


def test_a_folder_that_holds_something_else_is_refused(folder, capsys):
    (folder / 'out').mkdir()
    (folder / 'out/mine.txt').write_text('mine')
    fails(capsys, 'groups', 'out', '--overwrite', **GROUPS, **PICTURES)
    assert tree('out') == {'mine.txt'}
    call(capsys, 'groups', **GROUPS, **PICTURES, overwrite=True)
    whole = tree('out')
    assert 'mine.txt' not in whole
    # what broke off goes on to the same
    os.unlink('out/a_1.jpg/b c_0.9.jpg')
    call(capsys, 'groups', **GROUPS, **PICTURES)
    assert tree('out') == whole
    fails(capsys, 'groups', 'out', **GROUPS, **PICTURES, threshold='0.8')
    fails(capsys, 'groups', 'images', **GROUPS, img_dir='images', dst_dir='images/out')


@pytest.mark.parametrize('name', ['../secret.jpg', '/etc/hostname', 'a/../../secret.jpg'])
def test_names_that_lead_out_of_the_folder_are_refused(folder, capsys, name):
    (folder / 'secret.jpg').write_text('secret')
    mapped_files.write('mapped.txt', [('a_1.jpg', [(name, 0.9)]), (name, [('a_1.jpg', 0.9)])])
    fails(capsys, 'groups', 'leads out', **GROUPS, **PICTURES)
    assert not (folder / 'out').exists()


def test_missing_pictures(folder, capsys):
    os.unlink('images/b c.jpg')
    fails(capsys, 'groups', 'images/b c', '--skip_bad', **GROUPS, **PICTURES)
    told = call(capsys, 'groups', **GROUPS, **PICTURES, skip_bad=True)
    assert 'b c' in told.err and 'x:d.jpg/x:d_1.0.jpg' in tree('out')
    assert 'a_1.jpg/b c_0.9.jpg' not in tree('out')


def test_check_counts_what_is_left(folder, capsys):
    call(capsys, 'groups', **GROUPS, **PICTURES)
    for threshold, counts in (('0', '12 pairs, 6 images, 6 groups'),
                              ('0.62', '10 pairs, 6 images, 6 groups'),
                              ('0.69', '6 pairs, 4 images, 4 groups'),
                              ('0.9', '2 pairs, 2 images, 2 groups'),
                              ('0.91', '0 pairs, 0 images, 0 groups')):
        told = call(capsys, 'check', src_dir='out', threshold=threshold)
        assert told.out == f'out at or above {threshold}: {counts}\n'
    # as the original names them: without .jpg in the anchor, with _ in the name
    (folder / 'theirs/v_1').mkdir(parents=True)
    for name in ('v_1_1.000.jpg', 'w_2_0.71.jpg', 'w_3_0.69.jpg'):
        (folder / 'theirs/v_1' / name).write_text('')
    assert '2 pairs, 3 images, 1 groups' in call(capsys, 'check', src_dir='theirs',
                                                 threshold='0.69').out
    (folder / 'theirs/v_1/readme.txt').write_text('')
    fails(capsys, 'check', 'readme.txt', src_dir='theirs')
    fails(capsys, 'check', 'images', src_dir='images/one')


def test_sampled_and_chosen_groups_are_copied(folder, capsys):
    call(capsys, 'groups', **GROUPS, **PICTURES)
    call(capsys, 'sample', src_dir='out', dst_dir='some', n=3, seed=1)
    first = tree('some')
    assert first < tree('out') and len({name.split('/')[0] for name in first}) == 3
    call(capsys, 'sample', src_dir='out', dst_dir='again', n=3, seed=1)
    assert tree('again') == first
    call(capsys, 'sample', src_dir='out', dst_dir='all', n=6)
    assert tree('all') == tree('out') - {'grouping.txt'}
    fails(capsys, 'sample', '6 groups', src_dir='out', dst_dir='more', n=7)
    (folder / 'queries.txt').write_text('two/e.jpg\nb c.jpg\nnone.jpg\n')
    told = call(capsys, 'copy', src_dir='out', dst_dir='chosen', queries_file='queries.txt')
    assert tree('chosen') == {name for name in tree('out') if name.startswith(('b c', 'two%2F'))}
    assert '1 of 3' in told.err and 'none.jpg' in told.err
    (folder / 'queries.txt').write_text('none.jpg\n')
    fails(capsys, 'copy', 'none.jpg', src_dir='out', dst_dir='none', queries_file='queries.txt')


def test_groups_of_the_queries_are_saved(folder, capsys):
    (folder / 'queries.txt').write_text('h\ntwo/e.jpg\nb c.jpg\n')
    told = call(capsys, 'save', mapped='mapped.txt', queries_file='queries.txt', threshold='0.63',
                missing='missing.txt', **PICTURES)
    assert 'mapped.txt: 1 of 3' in told.err and (folder / 'missing.txt').read_text() == 'h\n'
    assert tree('out') == {
        'grouping.txt', 'b c.jpg/b c_1.0.jpg', 'b c.jpg/a_1_0.9.jpg', 'b c.jpg/x:d_0.8.jpg',
        'two%2Fe.jpg/two%2Fe_1.0.jpg', 'two%2Fe.jpg/%2Ef%25_0.65.jpg'}
    assert told.out == 'out: 5 pictures in 2 groups\n'
    (folder / 'queries.txt').write_text('h\nnone\n')
    fails(capsys, 'save', 'none of', 'h', mapped='mapped.txt', queries_file='queries.txt',
          **PICTURES)


# counts

RANGE = dict(mapped='mapped.txt', low='0.60', high='0.70', step='0.05')


def cells(out):
    """{name: [cell, ...]} of a Markdown table."""
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in out.splitlines()
            if line.startswith('| ')]
    return {name: values for name, *values in rows}


def test_counts_at_thresholds(folder, capsys):
    (folder / 'queries.txt').write_text('b c.jpg\ntwo/e.jpg\n')
    assert cells(call(capsys, 'count', **RANGE).out) == {
        'threshold': ['0.60', '0.65', '0.70'], 'pairs': ['12', '8', '6'],
        'images': ['6', '6', '4'], 'groups': ['6', '6', '4']}
    good = {'threshold': ['0.60', '0.65', '0.70'], 'same-origin pairs': ['4', '3', '2'],
            'same-origin images': ['6', '5', '3'], 'same-origin groups': ['2', '2', '1']}
    for mode in ('count', 'count_good'):
        assert cells(call(capsys, mode, **RANGE, queries_file='queries.txt').out) == good
    call(capsys, 'groups', **GROUPS, **PICTURES)
    told = call(capsys, 'count_junk', **RANGE, queries_file='queries.txt', src_dir='out')
    assert cells(told.out)['unrelated pairs'] == ['8', '5', '4']
    call(capsys, 'count_junk', **RANGE, queries_file='queries.txt', src_dir='out')
    fails(capsys, 'count_junk', 'all its groups', **RANGE, queries_file='mapped.txt', src_dir='out')


def test_a_sweep(folder, capsys):
    told = call(capsys, 'sweep', **RANGE, groups='groups.txt', precision='0.9', csv='s.csv',
                plot='s.png', missing='missing.txt')
    table = cells(told.out)
    # relevant: 6 of the first group and 1 of the last, which is not in the mapped file
    assert table['same-origin pairs'] == ['5', '3', '3']
    assert table['unrelated pairs'] == ['1', '1', '0']
    assert table['precision'] == ['0.833', '0.750', '1.000']
    assert table['recall'] == ['0.714', '0.429', '0.429']
    assert told.out.splitlines()[-2:] == [
        'best F1: threshold 0.60 (precision 0.833, recall 0.714, F1 0.769); it is the '
        'first one, so another range may have a better one',
        'precision of 0.9: from threshold 0.70 (precision 1.000, recall 0.429, F1 0.600)']
    assert '2 of 6 images with others of their origin are not in it: ü.png, h' in told.err
    assert (folder / 'missing.txt').read_text() == 'ü.png\nh\n'
    assert len((folder / 's.csv').read_text().splitlines()) == 4
    assert (folder / 's.png').read_bytes().startswith(b'\x89PNG')
    told = call(capsys, 'sweep', **RANGE, queries_file='mapped.txt')
    assert cells(told.out)['unrelated pairs'] == ['0', '0', '0']


def test_a_device_is_written_to_and_not_replaced(folder, capsys):
    call(capsys, 'sweep', **RANGE, groups='groups.txt', csv='/dev/null', missing='/dev/null')
    assert stat.S_ISCHR(os.stat('/dev/null').st_mode)


def test_without_matplotlib_nothing_is_counted(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    fails(capsys, 'sweep', 'matplotlib is needed', 'plots', **RANGE, groups='none.txt',
          plot='s.png')


def test_a_sweep_tells_where_the_mapped_file_ends(folder, capsys):
    told = call(capsys, 'sweep', **{**RANGE, 'low': '0.50'}, groups='groups.txt')
    assert 'lowest score is 0.61' in told.err
    assert 'lowest' not in call(capsys, 'sweep', **RANGE, groups='groups.txt').err


def test_all_anchors_missing_is_an_error(folder, capsys):
    (folder / 'other.txt').write_text('1\tp q\n')
    fails(capsys, 'sweep', 'mapped.txt', 'none of the 2', "'p'", **RANGE, groups='other.txt')
    fails(capsys, 'sweep', 'none.txt', **RANGE, groups='none.txt')


def test_a_plot_of_another_format_is_refused_before_anything_is_counted(folder, capsys):
    fails(capsys, 'sweep', 's.what', '.png', **RANGE, groups='none.txt', plot='s.what')


def test_the_script(folder):
    (folder / 'mapped.txt').write_text('a\tb:nan\n')
    (folder / 'truth.txt').write_text('1\ta b\n')
    done = run_script(SCRIPT, 'sweep', '--mapped', 'mapped.txt', '--groups', 'truth.txt',
                      cwd=folder)
    assert_one_line(done, 'check_on_cover.py: mapped.txt:1: ', 'b:nan')
