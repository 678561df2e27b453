"""The exception that the engine raises for a user's mistake."""


class CaffeError(RuntimeError):
    """An invalid net, file or call; the message is one line that names the place.

    It is a RuntimeError because pycaffe raises that when one of Caffe's checks fails.
    """
