# How many threads the kernels may use: a number of the process, and of a thread while it is within
# `Threads`.  The settings of all threads are in one list, touched under the lock of the memory.
# And how a step is shared by them.

cdef enum:
    MOST_THREADS = 1024

cdef struct Setting:
    int threads
    long long thread           # whose it is; 0 if it is not in the list
    Setting* older
    Setting* newer

cdef Setting PROCESS
cdef Setting* newest = NULL
PROCESS.threads = 1


cdef int set_threads(Setting* setting, int threads) except -1:
    if not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"num_threads: expected 1 to {MOST_THREADS}, got {threads}")
    setting.threads = threads if HAVE_THREADS else 1
    return 0


def set_num_threads(int threads, /):
    set_threads(&PROCESS, threads)


def set_cpus(int cpus, /):
    """Tell how many CPUs there are for all runs together."""
    global pool_cpus
    if not 1 <= cpus <= MOST_THREADS:
        raise ValueError(f"cpus: expected 1 to {MOST_THREADS}, got {cpus}")
    pool_cpus = cpus


cpdef int get_num_threads() noexcept:
    """What the calling thread would use."""
    cdef Setting* setting
    cdef long long thread
    cdef int threads
    if newest == NULL:
        return PROCESS.threads
    lock_pool()
    thread = this_thread()
    setting = newest
    while setting != NULL and setting.thread != thread:
        setting = setting.older
    threads = PROCESS.threads if setting == NULL else setting.threads
    unlock_pool()
    return threads


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


cdef pool_team* hire(int threads) except? NULL:
    # a team for the caller of at most so many threads; NULL if one will do
    cdef pool_team* team
    if threads < 2:
        return NULL
    team = pool_hire(threads)
    if team == NULL:
        raise RuntimeError(f"num_threads: {threads} threads could not be started")
    return team


cdef inline int size_of(const pool_team* team) noexcept nogil:
    return 1 if team == NULL else team.threads


cdef struct Tasks:             # of one call of a kernel
    kernel loop
    const void* args
    char* scratch
    Py_ssize_t each            # bytes for each thread


cdef void do_task(const void* job, Py_ssize_t task, int slot) noexcept nogil:
    cdef const Tasks* tasks = <const Tasks*> job
    tasks.loop(tasks.args, task, tasks.scratch + slot * tasks.each)
