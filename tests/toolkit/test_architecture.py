"""Imports go one way, from scripts to deep_retrieval to caffe, and without a cycle."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / 'myPython/deep_retrieval'
SCRIPT_SIDE = {'cli', 'subcommands', 'shared_flags', 'convert_flags', 'offline_flags',
               '__main__'}
# folders of the package that must not be imported by the modules below them
UPPER = {'duplicates', 'training', 'surgery', 'search', 'gallery', 'studies'}
LOWER = {'paths', 'store', 'images', 'listing', 'progress', 'optional', 'vectors', 'scales',
         'image_means', 'arguments'}


def modules(folder, name):
    """Dotted name -> file, of all modules of a package."""
    found = {}
    for path in sorted(folder.rglob('*.py')):
        parts = [name, *path.relative_to(folder).with_suffix('').parts]
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


MODULES = modules(PACKAGE, 'deep_retrieval')


def imported(path, name=''):
    """Dotted names that a file imports, anywhere in it."""
    package = name if path.name == '__init__.py' else name.rpartition('.')[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                above = package.split('.')[:len(package.split('.')) - node.level + 1]
                base = '.'.join(above + ([node.module] if node.module else []))
            for alias in node.names:
                yield f'{base}.{alias.name}' if f'{base}.{alias.name}' in MODULES else base


GRAPH = {name: set(imported(path, name)) - {name} for name, path in MODULES.items()}


def part(name):
    """The module or folder directly below deep_retrieval."""
    return name.split('.')[1] if '.' in name else ''


def test_the_graph_knows_imports_of_every_form():
    assert 'deep_retrieval.images' in GRAPH['deep_retrieval.model']         # from ... import
    assert 'deep_retrieval.store' in GRAPH['deep_retrieval.model']          # from the package
    assert 'deep_retrieval.store.atomic' in GRAPH['deep_retrieval.store']   # relative
    assert 'caffe' in GRAPH['deep_retrieval.model']                         # inside a function


def test_there_is_no_cycle():
    done = set()

    def visit(name, above):
        if name in above:
            pytest.fail('cycle: ' + ' -> '.join([*above[above.index(name):], name]))
        if name not in done and name in GRAPH:
            for other in sorted(GRAPH[name]):
                visit(other, [*above, name])
            done.add(name)

    for name in GRAPH:
        visit(name, [])


def test_the_library_imports_no_scripts_and_no_argparse():
    scripts = {path.stem for folder in ('', 'convert', 'test', 'dataset_helper')
               for path in (ROOT / 'myPython' / folder).glob('*.py')}
    scripts -= {'custom_layers', 'region_generator'}
    for name, others in GRAPH.items():
        if part(name) in SCRIPT_SIDE:
            continue
        assert not others & {'argparse', *scripts, *(f'deep_retrieval.{s}' for s in SCRIPT_SIDE)}, (
            name)


def test_lower_modules_do_not_know_the_upper_ones():
    for name, others in GRAPH.items():
        if part(name) in LOWER:
            above = {part(other) for other in others if other.startswith('deep_retrieval.')}
            assert above <= LOWER, name


def test_the_engine_does_not_know_the_toolkit():
    for path in (ROOT / 'pycaffe').rglob('*.py'):
        for other in imported(path, 'caffe.x'):
            assert not other.startswith(('deep_retrieval', 'custom_layers', 'region_generator')), (
                path)


def test_the_library_neither_prints_nor_exits():
    for name, path in MODULES.items():
        if part(name) in SCRIPT_SIDE:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ('print', 'exit', 'sys.exit'), (
                    f'{path}:{node.lineno}: {called}')


def test_the_root_is_computed_once():
    wrong = [path for folder in ('myPython', 'experiments', 'benchmarks', 'datasets', 'caffemodel')
             for path in (ROOT / folder).rglob('*.py')
             if 'parents[' in path.read_text() and path != PACKAGE / 'paths.py']
    assert not wrong


def test_installed_names_are_few():
    """setup.py installs no module by a generic name."""
    import re
    text = Path(ROOT / 'setup.py').read_text()
    assert re.search(r"py_modules=\['custom_layers', 'region_generator'\]", text)


def public_functions(body):
    """Public functions of a module, and public methods of its public classes."""
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith('_'):
            if isinstance(node, ast.FunctionDef):
                yield node
            else:
                yield from public_functions(node.body)


def unhinted(function):
    """Names of the parameters without a type hint, and `return` if the result has none."""
    args = function.args
    named = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    return ([arg.arg for arg in named if not arg.annotation and arg.arg not in ('self', 'cls')]
            + ([] if function.returns else ['return']))


def test_public_functions_have_type_hints():
    library = [ROOT / f'myPython/{name}.py' for name in ('custom_layers', 'region_generator')]
    lacking = [f'{path}:{function.lineno}: {function.name}: {", ".join(unhinted(function))}'
               for path in [*MODULES.values(), *library]
               for function in public_functions(ast.parse(path.read_text()).body)
               if unhinted(function)]
    assert not lacking, '\n'.join(lacking)
