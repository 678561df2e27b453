"""Deep image retrieval: one function call per task, for notebooks and scripts.

    import deep_retrieval as dr

    model = dr.load_model('caffemodel/model.caffemodel')
    photos = dr.describe(model, 'holiday_photos/', cache='tmp/holiday')
    hits = dr.search(photos, dr.describe(model, ['query.jpg']), top=5)
    groups = dr.find_groups(photos, threshold=0.75)
    dr.gallery(groups, photos, 'tmp/gallery')

    oxford = dr.open_dataset('datasets/Oxford')
    result = dr.evaluate(model, oxford, S=800, multires=True, aqe=1, dbe=20)

Functions take and return plain values, raise errors with one-line messages, log with `logging` and
show progress. Importing this package is fast: each name is loaded on first use.
"""

import importlib
import sys
import types

# name -> the module that defines it
API = {
    'load_model': 'model',
    'Model': 'model',
    'describe': 'describe',
    'open_features': 'saved_features',
    'search': 'nearest',
    'find_groups': 'duplicates.groups',
    'gallery': 'gallery.show',
    'open_dataset': 'datasets',
    'evaluate': 'evaluate',
    'read_image': 'images',
}
__all__ = list(API)


class _Package(types.ModuleType):
    """This package; a submodule with the name of an API function does not hide the function."""

    def __setattr__(self, name, value):
        if name not in API or not isinstance(value, types.ModuleType):
            super().__setattr__(name, value)

    def __getattr__(self, name):
        if name not in API:
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        value = getattr(importlib.import_module(f'{self.__name__}.{API[name]}'), name)
        setattr(self, name, value)
        return value

    def __dir__(self):
        return sorted({*super().__dir__(), *API})


sys.modules[__name__].__class__ = _Package
