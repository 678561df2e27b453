"""Rankings as folders of pictures to look at: RANK_NAME_SIMILARITY.jpg, copies of the images.

    fill('tmp/wrong', {'0001_a/00003_b_0.712.jpg': copy_of('b.jpg'), ...}, overwrite=False)

A folder that holds anything else is refused. Beside the pictures stands a list of them: what
`overwrite` may remove. Nothing else is ever removed.
"""

import json
import os
import shutil
import unicodedata

from tqdm import tqdm

from deep_retrieval.files import write_aside
from deep_retrieval.gallery import picture
from deep_retrieval.images import read_image

LIST = 'pictures.json'
LONGEST = 180   # bytes of a name within a file's name, of which systems take 255


def save_answers(folder, dataset, answers, overwrite, crop=True):
    """Save a picture of each query with its first hits, and copies of its wrong answers.

    answers : list of evaluate.Answer. Query number i (from 1) gets `000i_NAME.jpg` and, if it has
    wrong answers, the folder `000i_NAME`. crop : draw the queries' boxes.
    """
    pictures = {}
    for number, answer in enumerate(answers, 1):
        name = f'{number:04d}_{file_name(answer.query.name, dataset.query_path(answer.query))}'
        pictures[f'{name}.jpg'] = _strip_of(dataset, answer, crop)
        for rank, hit in answer.wrong.items():
            path = dataset.image_path(hit.name)
            pictures[f'{name}/{hit_name(rank, hit.name, path, hit.similarity)}'] = copy_of(path)
    fill(folder, pictures, overwrite)


def hit_name(rank, name, path, similarity):
    """RANK_NAME_SIMILARITY with the extension of the image's file."""
    extension = os.path.splitext(path)[1]
    return f'{rank:05d}_{file_name(name, path)}_{similarity:.3f}{extension}'


def file_name(name, path):
    """An image's name as a part of a file's name: text without folders and extension."""
    name = name.removesuffix(os.path.splitext(path)[1])
    name = ''.join('_' if letter == '/' or unicodedata.category(letter) == 'Cc' else letter
                   for letter in name)
    # names differ at their ends; bytes that are no text, as of a letter cut there, become _ too
    return os.fsencode(name)[-LONGEST:].decode('utf-8', 'replace').replace('\ufffd', '_')


def copy_of(source):
    """A function that copies the file `source` to a path."""
    def write(path):
        with open(source, 'rb') as file:
            write_aside(path, lambda copy: shutil.copyfileobj(file, copy))
    return write


def check(folder, overwrite):
    """Make the folder; ValueError where there is one in which `fill` has never written."""
    os.makedirs(folder, exist_ok=True)
    found = os.listdir(folder)
    if found and LIST not in found and not overwrite:
        _refuse(folder, min(found))


def fill(folder, pictures, overwrite):
    """Write pictures into a folder: {path below it: function that writes the picture to a path}.

    ValueError where the folder holds other files, unless overwrite: then the pictures of an
    earlier call are removed, and other files stay.
    """
    before = _listed(folder)
    if not overwrite:
        for path in _files(folder):
            # a killed run may leave the file behind that it was writing
            if path != LIST and path.removesuffix('.aside') not in pictures:
                _refuse(folder, path)
    for path in before - set(pictures):
        _remove(folder, path)
    os.makedirs(folder, exist_ok=True)
    text = json.dumps(sorted(pictures), indent=1) + '\n'
    write_aside(os.path.join(folder, LIST), lambda file: file.write(text.encode()))
    for path, write in tqdm(pictures.items(), unit='picture', disable=None, leave=False, delay=2):
        path = os.path.join(folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write(path)


def _strip_of(dataset, answer, crop):
    """A function that draws a query and the first hits of its ranking into a file."""
    def write(path):
        hits = [picture.Hit(read_image(dataset.image_path(hit.name)), hit.similarity,
                            _drawable(hit.name), hit.mark) for hit in answer.top]
        query = answer.query
        row = picture.Row(read_image(dataset.query_path(query)), hits, _drawable(query.name),
                          query.box if crop else None)
        picture.save(path, picture.strip([row]))
    return write


def _drawable(name):
    """A name in ASCII, all that OpenCV draws: without accents, other letters by their codes."""
    name = unicodedata.normalize('NFKD', name)
    name = ''.join(letter for letter in name if not unicodedata.combining(letter))
    return name.encode('ascii', 'backslashreplace').decode()


def _files(folder):
    """The files of a folder and of those in it: paths below it."""
    for path, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(path, name), folder)


def _listed(folder):
    """The pictures that an earlier call has listed, a set."""
    try:
        with open(os.path.join(folder, LIST), encoding='utf-8') as file:
            return {str(path) for path in json.load(file)}
    except FileNotFoundError:
        return set()
    except (ValueError, TypeError):
        raise ValueError(f'{os.path.join(folder, LIST)}: is no list of pictures; give another '
                         'folder') from None


def _remove(folder, path):
    """Remove a listed picture, and the folder that it leaves empty."""
    whole = os.path.join(folder, path)
    if os.path.isabs(path) or '..' in path.split('/') or not os.path.lexists(whole):
        return
    os.unlink(whole)
    if os.path.dirname(path) and not os.listdir(os.path.dirname(whole)):
        os.rmdir(os.path.dirname(whole))


def _refuse(folder, name):
    raise ValueError(f'{folder}: holds something else, as {name!r}; give another folder, or '
                     '--overwrite to write into this one')
