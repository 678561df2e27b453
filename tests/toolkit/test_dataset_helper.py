"""dataset_helper: Oxford and Paris, on small folders laid out as theirs."""
import os
import re

import pytest
from deep_retrieval.datasets import (
    DATASETS,
    OXFORD_LAYOUT,
    DatasetError,
    OxfordHelper,
    ParisHelper,
    Query,
    Truth,
    open_dataset,
)
from deep_retrieval.datasets.folders import Classes, Covers, Landmark, ParisClasses

IMAGES = ['tower_000002.jpg', 'all_souls_000013.jpg', 'tower_000001.JPG', 'bridge_7.jpeg', 'c.png']
LAB = {
    'tower_2_query.txt': 'oxc1_tower_000001 93 110 580 925\n',
    'tower_2_good.txt': 'tower_000002\n',
    'tower_2_ok.txt': '',
    'tower_2_junk.txt': 'bridge_7\nnot_in_jpg\n',
    'all_souls_1_query.txt': 'oxc1_all_souls_000013 136.5 34.1 648.5 955.7\n',
    'all_souls_1_good.txt': 'all_souls_000013\nc\n',
    'all_souls_1_ok.txt': 'bridge_7\n',
    'all_souls_1_junk.txt': '',
}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / 'My Oxford'
    for name in ('jpg', 'lab'):
        (path / name).mkdir(parents=True)
    for name in IMAGES:
        (path / 'jpg' / name).touch()
    for name, text in LAB.items():
        (path / 'lab' / name).write_text(text)
    return path


def refusal(path, helper=OxfordHelper):
    """The one line with which a folder is refused."""
    with pytest.raises(DatasetError) as told:
        helper(path)
    assert '\n' not in str(told.value)
    return str(told.value)


def test_names():
    known = {'Oxford': OxfordHelper, 'Paris': ParisHelper, 'Covers': Covers, 'Landmark': Landmark,
             'ParisClasses': ParisClasses, 'Classes': Classes}
    assert DATASETS.items() >= known.items()
    assert OXFORD_LAYOUT[:2] == ('Oxford', 'Paris') and 'Covers' not in OXFORD_LAYOUT
    assert issubclass(DatasetError, ValueError)


def test_images(folder):
    dataset = OxfordHelper(folder)
    assert dataset.images == ['all_souls_000013', 'bridge_7', 'c', 'tower_000001', 'tower_000002']
    for name in dataset.images:
        assert os.path.isfile(dataset.image_path(name))
    assert dataset.image_path('tower_000001') == str(folder / 'jpg' / 'tower_000001.JPG')
    with pytest.raises(DatasetError, match='no image nowhere in .*jpg'):
        dataset.image_path('nowhere')


def test_queries(folder):
    dataset = OxfordHelper(str(folder))
    assert dataset.queries == [
        Query('all_souls_1', 'all_souls_000013', (136.5, 34.1, 648.5, 955.7)),
        Query('tower_2', 'tower_000001', (93.0, 110.0, 580.0, 925.0)),
    ]
    first, second = dataset.queries
    assert dataset.lab_prefix(first) == str(folder / 'lab' / 'all_souls_1')
    assert dataset.ground_truth(first) == (['all_souls_000013', 'c'], ['bridge_7'], [])
    assert dataset.ground_truth(second) == (['tower_000002'], [], ['bridge_7', 'not_in_jpg'])
    assert dataset.truth(first) == Truth({'all_souls_000013', 'c', 'bridge_7'}, set())
    assert dataset.truth(second) == Truth({'tower_000002'}, {'bridge_7', 'not_in_jpg'})
    path = str(folder / 'jpg/tower_000001.JPG')
    assert dataset.query_items()[1] == ('tower_000001', path, (93, 110, 580, 925))
    assert dataset.query_items(crop=False)[1] == ('tower_000001', path, None)
    assert dataset.items()[3] == ('tower_000001', path, None)
    with pytest.raises(AttributeError):
        first.box = None


def test_what_is_no_image_is_passed_over(folder):
    for name in ('Thumbs.db', 'readme.txt', '.hidden.jpg', '._c.png'):
        (folder / 'jpg' / name).touch()
    (folder / 'jpg' / 'thumbs.jpg').mkdir()
    (folder / 'lab' / '._tower_2_query.txt').write_bytes(b'\x00\xff')
    dataset = OxfordHelper(folder)
    assert len(dataset.images) == len(IMAGES) and len(dataset.queries) == 2


def test_a_dangling_link_stays_an_image(folder):
    (folder / 'jpg' / 'gone.jpg').symlink_to(folder / 'nowhere.jpg')
    assert 'gone' in OxfordHelper(folder).images


def test_paris_ignores_damaged_images(folder):
    for name in ('paris_louvre_000136', 'paris_triomphe_000867', 'paris_louvre_000137'):
        (folder / 'jpg' / f'{name}.jpg').touch()
    for path in folder.glob('lab/tower_2_*'):
        path.unlink()
    query = 'paris_louvre_000137 1 2 30 40'
    (folder / 'lab' / 'all_souls_1_query.txt').write_text(query)
    (folder / 'lab' / 'all_souls_1_ok.txt').write_text('paris_louvre_000136')
    dataset = ParisHelper(folder)
    assert [name for name in dataset.images if 'paris' in name] == ['paris_louvre_000137']
    assert dataset.queries == [Query('all_souls_1', 'paris_louvre_000137', (1, 2, 30, 40))]
    # the ground truth stays as it is: compute_ap reads it so
    assert dataset.ground_truth(dataset.queries[0])[1] == ['paris_louvre_000136']
    assert len(ParisHelper.ignored) == 20
    assert all(re.fullmatch(r'paris_[a-z]+_\d{6}', name) for name in ParisHelper.ignored)


def test_either_dataset_may_have_the_prefix(folder):
    for helper in (OxfordHelper, ParisHelper):
        assert helper(folder).queries[0].image == 'all_souls_000013'


def test_only_a_leading_prefix_is_stripped(folder):
    (folder / 'jpg' / 'a_oxc1_b.jpg').touch()
    (folder / 'lab' / 'tower_2_query.txt').write_text('a_oxc1_b 1 2 3 4')
    assert OxfordHelper(folder).queries[1].image == 'a_oxc1_b'


def test_missing_folders(folder):
    told = refusal(folder / 'nowhere')
    assert f'no such folder: {folder / "nowhere"}' in told and 'jpg/ and lab/' in told
    (folder / 'jpg').rename(folder / 'images')
    told = refusal(folder)
    assert f'cannot read the folder {folder / "jpg"}: No such file' in told and 'expected' in told
    (folder / 'images').rename(folder / 'jpg')
    (folder / 'lab').rename(folder / 'truth')
    assert f'cannot read the folder {folder / "lab"}: No such file' in refusal(folder)


def test_no_images(folder):
    for path in folder.glob('jpg/*'):
        path.unlink()
    (folder / 'jpg' / 'paris').mkdir()
    told = refusal(folder)
    assert f'no images in {folder / "jpg"}' in told and 'not in folders below it' in told


def test_one_name_twice(folder):
    (folder / 'jpg' / 'c.jpg').touch()
    told = refusal(folder)
    assert str(folder / 'jpg') in told and 'c.jpg and c.png are both the image c' in told


def test_white_space_in_a_name(folder):
    (folder / 'jpg' / 'c copy.png').touch()
    told = refusal(folder)
    assert str(folder / 'jpg' / 'c copy.png') in told and 'white space' in told


def test_no_queries(folder):
    for path in folder.glob('lab/*_query.txt'):
        path.unlink()
    assert f'no *_query.txt in {folder / "lab"}' in refusal(folder)


@pytest.mark.parametrize('text, wrong', [
    ('', 'holds 0 words'),
    ('oxc1_tower_000001', 'holds 1 words'),
    ('oxc1_tower_000001 1 2 3', 'holds 4 words'),
    ('oxc1_tower_000001 1 2 3 4 5', 'holds 6 words'),
    ('oxc1_tower_000001 1 2 3 four', "not four numbers.*'four'"),
    ('oxc1_tower_000001 1 2 nan 4', '1 2 nan 4 is not a box'),
    ('oxc1_tower_000001 1 2 inf 4', '1 2 inf 4 is not a box'),
    ('oxc1_tower_000001 3 2 3 4', '3 2 3 4 is not a box'),
    ('oxc1_tower_000001 1 4 3 2', '1 4 3 2 is not a box'),
    ('oxc1_elsewhere 1 2 3 4', 'its image elsewhere is not in .*jpg'),
])
def test_malformed_query(folder, text, wrong):
    path = folder / 'lab' / 'tower_2_query.txt'
    path.write_text(text)
    told = refusal(folder)
    assert str(path) in told and re.search(wrong, told)


def test_query_file_that_is_no_text(folder):
    path = folder / 'lab' / 'tower_2_query.txt'
    path.write_bytes(b'\xff\xfe\x00')
    assert f'{path}: is not text' in refusal(folder)


@pytest.mark.parametrize('grade', ['good', 'ok', 'junk'])
def test_missing_ground_truth(folder, grade):
    path = folder / 'lab' / f'tower_2_{grade}.txt'
    path.unlink()
    assert f'cannot read {path}: No such file' in refusal(folder)


def test_query_without_a_positive(folder):
    (folder / 'lab' / 'tower_2_good.txt').write_text('\n')
    told = refusal(folder)
    assert str(folder / 'lab' / 'tower_2_good.txt') in told and 'needs a positive' in told


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.fixture
def classes(tmp_path):
    path = tmp_path / 'classes'
    touch(path, 'a/1.jpg', 'a/2.png', 'a/deep/3.jpg', 'b/1.jpg', 'b/2.jpg', 'c/1.jpg')
    return path


@pytest.fixture
def covers(tmp_path):
    path = tmp_path / 'covers'
    touch(path, 'queries/q.jpg', 'queries/r.jpg', 'dataset/a.jpg', 'dataset/b.jpg', 'dataset/q.jpg')
    (path / 'query.txt').write_text('r.jpg\nq.jpg\n')
    (path / 'answer.txt').write_text('a.jpg\tb.jpg\t\n\n')
    return path


@pytest.fixture
def landmark(tmp_path):
    path = tmp_path / 'landmark'
    touch(path, 'queries/a/1.jpg', 'queries/x/2.jpg', 'dataset/a/3.jpg', 'dataset/b/4.jpg')
    return path


def test_a_folder_of_classes(classes):
    dataset = Classes(classes)
    assert dataset.images == ['a/1.jpg', 'a/2.png', 'a/deep/3.jpg', 'b/1.jpg', 'b/2.jpg', 'c/1.jpg']
    assert [query.image for query in dataset.queries] == dataset.images
    truth = {query.name: dataset.truth(query) for query in dataset.queries}
    # a query is in the database itself: it is neither right nor wrong
    assert truth['a/1.jpg'] == Truth({'a/2.png', 'a/deep/3.jpg'}, {'a/1.jpg'})
    assert truth['b/2.jpg'] == Truth({'b/1.jpg'}, {'b/2.jpg'})
    assert truth['c/1.jpg'] == Truth(set(), {'c/1.jpg'})
    assert dataset.query_items()[1] == ('a/2.png', str(classes / 'a/2.png'), None)
    with pytest.raises(DatasetError, match='no image a/9.jpg in .*classes'):
        dataset.image_path('a/9.jpg')
    touch(classes, 'loose.jpg')
    with pytest.raises(DatasetError, match='loose.jpg: is not in a class folder'):
        Classes(classes)


def test_covers(covers):
    dataset = Covers(covers)
    assert dataset.images == ['a.jpg', 'b.jpg', 'q.jpg']
    assert [query.name for query in dataset.queries] == ['r.jpg', 'q.jpg']      # as listed
    assert dataset.truth(dataset.queries[0]) == Truth({'a.jpg', 'b.jpg'})
    assert dataset.truth(dataset.queries[1]) == Truth(frozenset())
    # queries and database may have images of the same name
    assert dataset.query_path(dataset.queries[1]) == str(covers / 'queries/q.jpg')
    assert dataset.image_path('q.jpg') == str(covers / 'dataset/q.jpg')
    assert dataset.query_items()[1].path == str(covers / 'queries/q.jpg')
    covers.rename(covers.parent / 'clean')
    assert Covers(covers.parent).images == dataset.images
    (covers.parent / 'clean/query.txt').write_text('r.jpg\nr.jpg\n')
    with pytest.raises(DatasetError, match="query.txt:2: names the image 'r.jpg' again"):
        Covers(covers.parent)


def test_landmark(landmark):
    dataset = Landmark(landmark)
    assert [dataset.truth(query).positives for query in dataset.queries] == [{'a/3.jpg'}, set()]
    assert dataset.images == ['a/3.jpg', 'b/4.jpg']
    touch(landmark, 'queries/5.jpg')
    with pytest.raises(DatasetError, match='queries/5.jpg: is not in a class folder'):
        Landmark(landmark)


def test_paris_classes(tmp_path):
    touch(tmp_path, 'queries/x_beta_1.jpg', 'queries/beta2_1.jpg', 'queries/gamma.jpg',
          'dataset/beta2_2.jpg', 'dataset/beta_2.jpg', 'dataset/no.jpg')
    dataset = ParisClasses(tmp_path, ['beta', 'beta2'])
    found = {query.name: set(dataset.truth(query).positives) for query in dataset.queries}
    assert found == {'beta2_1.jpg': {'beta2_2.jpg'}, 'x_beta_1.jpg': {'beta_2.jpg'},
                     'gamma.jpg': set()}


def test_a_layout_is_recognized(folder, covers, landmark, classes, tmp_path):
    for path, kind in ((folder, OxfordHelper), (covers, Covers), (landmark, Landmark),
                       (classes, Classes)):
        assert type(open_dataset(path)) is kind
    assert type(open_dataset(folder, 'Paris')) is ParisHelper
    (tmp_path / 'below').mkdir()
    covers.rename(tmp_path / 'below/clean')
    assert type(open_dataset(tmp_path / 'below')) is Covers


@pytest.mark.parametrize('files', [
    [], ['a.jpg'], ['a/1.jpg'], ['a/1.jpg', 'b/notes.txt'], ['1.jpg', 'a/1.jpg', 'b/1.jpg'],
    ['jpg/a.jpg'], ['query.txt']])
def test_what_is_not_a_dataset_is_refused_with_the_layouts(files, tmp_path):
    folder = tmp_path / 'x'
    folder.mkdir()
    touch(folder, *files)
    with pytest.raises(DatasetError, match='x: is not a dataset .*jpg/ and lab/.*one folder per'):
        open_dataset(folder)
    with pytest.raises(DatasetError, match='nowhere: there is no such folder; .*queries/'):
        open_dataset(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match="no dataset 'Rome'; known are Oxford, Paris, Covers"):
        open_dataset(folder, 'Rome')
