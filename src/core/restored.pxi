# Attributes that get their values back.

@cython.final
@cython.auto_pickle(False)
cdef class Restored:
    """Attributes of objects that may change inside a `with` block; after it they are as before.

    Parameters
    ----------
    attributes : iterable of (object, name)
    enter, leave : functions, optional
        Called within that protection, at the start and at the end of the block.

    All of this is done in C, where no interrupt comes between two steps; and if the interpreter was
    interrupted before it could leave the block, the values return when this object goes.
    """

    cdef list attributes, values
    cdef object enter, leave

    def __init__(self, attributes, enter=None, leave=None):
        self.attributes = list(attributes)
        self.enter, self.leave = enter, leave

    def __enter__(self):
        if self.values is not None:
            raise RuntimeError("these attributes were entered and not left")
        self.values = [(owner, name, getattr(owner, name)) for owner, name in self.attributes]
        if self.enter is not None:
            try:
                self.enter()
            except BaseException:
                self.put_back()
                raise

    def __exit__(self, *error):
        self.put_back()

    def __del__(self):
        self.put_back()

    cdef int put_back(self) except -1:
        values, self.values = self.values, None
        if values is None:
            return 0
        failure = None
        if self.leave is not None:
            try:
                self.leave()
            except BaseException as error:
                failure = error
        for owner, name, value in values:
            try:
                setattr(owner, name, value)
            except BaseException as error:
                failure = error
        if failure is not None:
            raise failure
        return 0
