"""The one exception the engine raises for a user's mistake."""


class CaffeError(RuntimeError):
    """A net, file or call that Caffe would refuse; one line that names the place.

    A RuntimeError, because that is what pycaffe raises where Caffe's own checks fail.
    """
