# Channels that lie in the lanes, in groups of LANES.

cdef inline Py_ssize_t groups_of(Py_ssize_t channels) noexcept nogil:
    return (channels + LANES - 1) // LANES


cdef inline bint fewer_lanes_are_empty(Py_ssize_t across, Py_ssize_t down) noexcept nogil:
    return groups_of(across) * down < groups_of(down) * across
