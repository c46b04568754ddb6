# How many threads the kernels may use: a number of the process, and of a thread while it is within
# `Threads`.  The settings of all threads are in one list, touched under the lock of the memory.

cdef enum:
    MOST_THREADS = 1024

cdef struct Setting:
    int threads, limit         # `limit`: of OpenMP when it was made; it may be lowered later
    long long thread           # whose it is; 0 if it is not in the list
    Setting* older
    Setting* newer

cdef Setting PROCESS
cdef Setting* newest = NULL
PROCESS.threads = PROCESS.limit = 1


cdef int set_threads(Setting* setting, int threads) except -1:
    if not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"num_threads: expected 1 to {MOST_THREADS}, got {threads}")
    setting.threads = threads
    setting.limit = openmp_limit()
    return 0


def set_num_threads(int threads, /):
    set_threads(&PROCESS, threads)


cpdef int get_num_threads() noexcept:
    """What the calling thread would use."""
    cdef int limit = openmp_limit()
    cdef Setting* here = &PROCESS
    cdef Setting* setting
    cdef long long thread
    if forked_child or not HAVE_OPENMP:
        return 1
    if newest == NULL:
        return min(here.threads, limit) if limit < here.limit else here.threads
    lock_pool()
    thread = this_thread()
    setting = newest
    while setting != NULL and setting.thread != thread:
        setting = setting.older
    if setting != NULL:
        here = setting
    limit = min(here.threads, limit) if limit < here.limit else here.threads
    unlock_pool()
    return limit


@cython.final
cdef class Threads:
    """So many threads for the calling thread inside a `with` block; None changes nothing.

    Blocks may overlap: the one entered last counts, as long as it lasts.
    """

    cdef Setting setting
    cdef bint changes

    def __cinit__(self, threads):
        self.changes = threads is not None
        if self.changes:
            set_threads(&self.setting, threads)

    def __enter__(self):
        global newest
        cdef bint entered
        if not self.changes:
            return
        lock_pool()
        entered = self.setting.thread != 0
        if not entered:
            self.setting.limit = openmp_limit()
            self.setting.thread = this_thread()
            self.setting.older, self.setting.newer = newest, NULL
            if newest != NULL:
                newest.newer = &self.setting
            newest = &self.setting
        unlock_pool()
        if entered:
            raise RuntimeError("this number of threads was entered and not left")

    def __exit__(self, *error):
        self.leave()

    def __dealloc__(self):
        self.leave()  # if an interrupt came before `__exit__`

    cdef void leave(self) noexcept:
        global newest
        cdef Setting* setting = &self.setting
        lock_pool()
        if setting.thread:
            setting.thread = 0
            if setting.newer != NULL:
                setting.newer.older = setting.older
            else:
                newest = setting.older
            if setting.older != NULL:
                setting.older.newer = setting.newer
        unlock_pool()
