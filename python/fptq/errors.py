"""What goes wrong, by kind."""


class Error(Exception):
    """One line that says what, where, expected and found."""


class InputError(Error, ValueError):
    """An argument, or the content of a file, is not what it has to be."""


class FileError(Error, OSError):
    """A file cannot be opened, read or written."""


class ResourceError(Error, RuntimeError):
    """Memory, disk or another limit of the machine does not suffice."""


class CancelledError(Error):
    """The caller ended it."""


class InternalError(Error, RuntimeError):
    """A fault of fptq itself."""
