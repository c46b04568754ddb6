# Memory of arrays.
#
# Arrays of a training step have the same sizes again and again, and fresh pages cost more than the
# arithmetic on them: memory that an array gives back is kept for the next one of that size.  What
# is kept is never more than twice what was in use at once: not all sizes are in use together.

cdef dict SPARE = {}           # size -> addresses
cdef Py_ssize_t in_use = 0, most_in_use = 0, kept = 0, taken = 0


cdef class Memory:
    """`size` bytes from a cache line on, as a writable buffer; not initialised."""

    cdef char* address
    cdef Py_ssize_t size

    def __cinit__(self, size):
        global in_use, most_in_use, kept, taken
        if size < 0:
            raise ValueError(f"expected a size of at least 0, got {size}")
        if size > PY_SSIZE_T_MAX - 2 * ALIGNMENT:
            raise MemoryError(f"{size} bytes")
        self.size = size
        cdef list spare = SPARE.pop(size, None)
        if spare is not None:
            self.address = <char*> <uintptr_t> spare.pop()
            kept -= self.size
            if spare:
                SPARE[size] = spare  # behind sizes that were not asked for lately
        else:
            self.address = <char*> allocate(max(self.size, 1))
            if self.address == NULL:
                raise MemoryError(f"{size} bytes")
            taken += 1
        if recording():
            RECORDER.born(self.address, self.size)
        in_use += self.size
        most_in_use = max(most_in_use, in_use)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.address, self.size, False, flags)

    def __dealloc__(self):
        global in_use, kept
        if self.address == NULL:
            return
        if recording():
            RECORDER.died(self.address)
        in_use -= self.size
        SPARE.setdefault(self.size, []).append(<uintptr_t> self.address)
        kept += self.size
        while kept > 2 * most_in_use:
            forget_oldest()


cdef int forget_oldest() except -1:
    global kept
    size = next(iter(SPARE))
    addresses = SPARE[size]
    release(<void*> <uintptr_t> addresses.pop())
    kept -= size
    if not addresses:
        del SPARE[size]
    return 0


def memory_use():
    """Bytes in use, at most in use so far, kept for reuse; how often the system was asked."""
    return in_use, most_in_use, kept, taken


def release_memory():
    """Give all kept memory back to the system and count the most in use anew."""
    global most_in_use, kept
    for addresses in SPARE.values():
        for address in addresses:
            release(<void*> <uintptr_t> address)
    SPARE.clear()
    kept = 0
    most_in_use = in_use
