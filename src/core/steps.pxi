# The steps of a recorded pass over one block of images, run for all blocks of a batch.
#
# A run goes through *segments*.  In each, the blocks are taken depth first, every one through all steps
# of the segment while its activations are in the cache, and the threads share the blocks.  After each
# wave of blocks the parts that these left are *reduced* to what belongs to the whole batch; after the
# last one come the steps that read and write such *whole* memory alone.  Then the next segment may
# read it.
#
# Every pointer is into a *stream* (an array with a part for each block, or a result of the whole batch),
# into the *arena* (what lives within one block and segment, so each thread has its own), into parts
# for each block of a wave or of the batch, into memory that all blocks share, or to a constant.

cdef enum:                     # marks of a call
    ONCE = 1                   # it writes memory that nothing else writes
    ADDS = 2                   # it reads what it writes
    FIRST_PLAIN = 4            # the first pointer is to plain images: none beyond the last one
    SECOND_PLAIN = 8           # the second one is
    # Numbers behind the pointers that a run replaces, in this order:
    LIVE = 16                  # how many images there are
    REDUCES = 32               # how many parts the first pointer has, the number of the first one, of how many,
                               # and how many bytes lie from one to the next; what it writes is whole
    NUMBERED = 64              # the number of the first image
    BATCH = 128                # how many images the batch has
    CUT = 512                  # in how many pieces each task is cut, so that threads which share a block have one each
    GATHERS = 256              # with REDUCES, whose numbers it follows: the bytes from part to part of the second pointer;
                               # both are to parts, of all blocks of the batch
    REPLACED = LIVE | REDUCES | GATHERS | NUMBERED | BATCH | CUT

cdef enum:                     # homes of a pointer beside the numbers of streams
    FIXED = -1
    ARENA = -2
    SHARED = -3
    PARTS = -4                 # one for each block of a wave
    KEPT = -5                  # one for each block of the batch
    FOREIGN = -6

cdef enum:                     # when a step is done
    EACH_BLOCK, EACH_WAVE, EACH_BATCH, BEFORE, NEVER

cdef struct Step:
    kernel loop
    char* args
    size_t size
    int inputs, pointers, marks, time, segment
    bint streaming             # it depends on a stream
    int home[MOST_POINTERS]
    int life[MOST_POINTERS]    # of those in the arena
    Py_ssize_t offset[MOST_POINTERS]  # from where the part of the block begins
    Py_ssize_t stride[MOST_POINTERS]  # bytes from part to part
    Py_ssize_t tasks, scratch
    double work
    bint late                  # of a reduction, or on whole memory: nobody reads its results in the run
    Py_ssize_t sums, each_sum  # of a reduction: where its results lie in those of a piece, bytes of each

cdef struct Segment:
    int first, reductions, wholes, end  # where the steps of each kind begin
    double work                # of a block
    Py_ssize_t sums[2]         # bytes of the reductions of a piece, and of the late ones

cdef struct Stream:
    uintptr_t address
    Py_ssize_t size            # bytes a block
    char kind                  # of its numbers
    bint plain                 # it has no part for lanes without an image
    bint written
    bint whole                 # it has one part for the batch

cdef struct Run:
    const Py_buffer* views
    char* memory               # of the threads
    char* shared
    char* parts
    char* kept
    Py_ssize_t N, images, wave, each, slots  # parts: of a wave, and sums of waves
    Py_ssize_t first, count    # blocks of this wave
    double scale
    int threads
    pool_team* team            # NULL if they are one
    Py_ssize_t at, total       # the number of the first block, and how many images the whole batch has
    char* sums                 # where reductions write, if they are of a piece

cdef struct Wave:              # blocks that threads share
    void* steps
    const Segment* segment
    const Run* run
    Py_ssize_t first, step     # block n of it has the number first + step * n

cdef enum:
    TRIALS = 8                 # numbers of blocks that have one
    TRIED = 15                 # runs of either kind
    TRIED_BOTH = 2 * TRIED
    TRUSTED = 3000             # runs after which there is another: the machine may be busy by then
    STREAMS = 256              # at most
    MOST_ARGS = 512            # bytes: more than any struct of arguments
    QUEUES = 30                # runs

cdef struct Trial:             # of runs that have fewer blocks than threads
    int threads
    int runs                   # so far: on several threads that share each step, on one, and those that follow
    long long took[TRIED_BOTH] # nanoseconds of the first ones
    bint several               # what the others do


cdef int better(Trial* trial, int threads) noexcept:
    # Where the blocks are fewer than the threads, these share the tasks of each step, and what one has
    # written the other must fetch: whether that pays the first runs tell, on several threads and then on one.
    cdef bint several
    lock_pool()
    if trial.threads != threads or trial.runs >= TRUSTED:
        trial.threads, trial.runs = threads, 0
    several = trial.runs < TRIED if trial.runs < TRIED_BOTH else trial.several
    unlock_pool()
    return threads if several else 1


cdef void tried(Trial* trial, long long took) noexcept:
    lock_pool()
    if trial.runs < TRIED_BOTH:
        trial.took[trial.runs] = took
    trial.runs += 1
    if trial.runs == TRIED_BOTH:
        trial.several = middle(trial.took) < middle(trial.took + TRIED)
    unlock_pool()


cdef long long middle(const long long* took) noexcept nogil:
    # the median of so many
    cdef int i, j, less
    for i in range(TRIED):
        less = 0
        for j in range(TRIED):
            less += took[j] < took[i] or took[j] == took[i] and j < i
        if less == TRIED // 2:
            return took[i]
    return 0


cdef class Steps:
    """Recorded calls of kernels; any number of threads may call `run` at once."""

    cdef Step* steps           # in the order of a run, those done before the blocks first
    cdef Segment* segments
    cdef int befores, last     # number of steps; of the last segment
    cdef Lives lives           # with the number of steps
    cdef Stream streams[STREAMS]
    cdef int count             # of streams
    cdef list constants        # (array, address, bytes, whether it may be resized)
    cdef list kept             # memory of tables
    cdef Py_ssize_t arena_size, shared_size, scratch_size, parts_size, kept_size, images
    cdef double work
    cdef Table* table
    cdef Trial trials[TRIALS]
    cdef int queues            # short runs that keep the interpreter's lock, for one waited longer for it than it took
    cdef bint done
    cdef Memory before         # the shared memory, if what is done before the blocks was done for good

    def __dealloc__(self):
        cdef int i
        for i in range(self.lives.steps):
            free(self.steps[i].args)
        free(self.steps)
        free(self.segments)
        free(self.lives.life)

    @property
    def memory(self):
        """Bytes that a run of one block on one thread needs."""
        return self.arena_size + self.scratch_size + self.shared_size + self.parts_size + self.kept_size

    @property
    def kept_memory(self):
        """Bytes that the recording keeps between runs."""
        return 0 if self.before is None else self.before.size

    cdef int do_before(self) except -1:
        # The steps before the blocks, once for all runs: what they read never changes.  Nobody else may write what runs
        # then share, so nothing is done if something belongs to a whole batch.
        cdef Run r
        cdef int s
        cdef Memory before = Memory(self.shared_size)
        cdef Memory memory = Memory(whole_lines(self.arena_size) + whole_lines(self.scratch_size) + MOST_ARGS)
        for s in range(self.befores, self.lives.steps):
            if self.steps[s].time == EACH_WAVE or self.steps[s].time == EACH_BATCH:
                return 0
        memset(&r, 0, sizeof(r))
        r.shared, r.memory, r.threads = before.address, memory.address, 1
        self.run_all(&r, False)
        self.before, self.shared_size = before, 0
        return 0

    def run(self, streams, Py_ssize_t images, double scale, share=None):
        """All steps for the blocks of `images` images.

        `streams` are the arrays that replace those of the recording, in that order, with a part for
        each block, or one in all for what belongs to the whole batch; `scale` multiplies the gradient
        of the loss.  Threads share the blocks or, if there are fewer, the tasks of each step that is
        worth it.  `share` says which images of a batch of several processes these are (`run.share`).
        """
        cdef Py_ssize_t N
        cdef Py_buffer views[STREAMS]
        cdef int s, held = 0
        within_reach(&images, 1)
        at_least(0, &images, 1)
        if not self.done:
            raise RuntimeError("nothing was recorded")
        cdef tuple arrays = tuple(streams)
        if len(arrays) != self.count:
            raise ValueError(f"expected {self.count} streams, got {len(arrays)}")
        N = (images + self.images - 1) // self.images
        self.check_constants()
        try:
            for s in range(self.count):
                PyObject_GetBuffer(arrays[s], &views[s], PyBUF_C_CONTIGUOUS | PyBUF_FORMAT
                                   | (PyBUF_WRITABLE if self.streams[s].written else 0))
                held += 1
                self.check_stream(s, &views[s], N, images)
            self.run_segments(views, N, images, scale, share)
        finally:
            for s in range(held):
                PyBuffer_Release(&views[s])

    cdef int check_constants(self) except -1:
        cdef Py_buffer view
        for array, address, size, resizable in self.constants:
            if resizable:
                PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
                PyBuffer_Release(&view)
                if <uintptr_t> view.buf != <uintptr_t> address or view.len != <Py_ssize_t> size:
                    raise RuntimeError("an array that was recorded as constant lies elsewhere now")
        return 0

    cdef int check_stream(self, int s, const Py_buffer* view, Py_ssize_t N, Py_ssize_t images) except -1:
        cdef const Stream* stream = &self.streams[s]
        cdef Py_ssize_t blocks = 1 if stream.whole else N, rest = 0
        if kind_of(view) != stream.kind or view.itemsize and <uintptr_t> view.buf % <size_t> view.itemsize:
            raise TypeError(f"stream {s}: expected an array of the kind that was recorded")
        if stream.plain and N:
            blocks = N - 1
            rest = (stream.size + self.images - 1) // self.images * (images - blocks * self.images)
        if stream.size and (view.len < rest or blocks > (view.len - rest) // stream.size):
            raise ValueError(f"stream {s}: {view.len} bytes are too few for {images} images")
        return 0

    cdef int run_segments(self, const Py_buffer* views, Py_ssize_t N, Py_ssize_t images, double scale,
                          share) except -1:
        cdef Run r
        cdef long long begun, ended
        cdef Py_ssize_t scratch = whole_lines(self.scratch_size), others = whole_lines(self.arena_size) + MOST_ARGS
        cdef Py_ssize_t waves
        cdef Memory memory
        r.views, r.N, r.images, r.scale, r.wave = views, N, images, scale, min(N, WAVE)
        r.at, r.total, r.sums = 0, images, NULL
        r.each, r.slots = others + scratch, r.wave
        waves = (N - 1) // WAVE
        while waves:
            r.slots += 1
            waves //= 2
        r.threads = get_num_threads() if self.work * N >= SHARED_WORK else 1
        cdef Trial* trial = &self.trials[N] if N < min(r.threads, TRIALS) and share is None else NULL
        if trial != NULL:
            r.threads = better(trial, r.threads)
        cdef long long started = pool_clock() if trial != NULL else 0
        r.team = hire(r.threads)
        try:
            r.threads = size_of(r.team)
            mine = <object> r.each * r.threads if N >= r.threads else others + <object> scratch * r.threads
            memory = Memory(mine + self.shared_size + <object> r.slots * self.parts_size
                            + <object> N * self.kept_size)
            r.shared = memory.address if self.before is None else self.before.address
            r.memory = memory.address + self.shared_size
            r.parts = r.memory + <Py_ssize_t> mine
            r.kept = r.parts + r.slots * self.parts_size
            if self.queues > 0 and self.work * N < SHORT_WORK and share is None:
                self.queues -= 1
                self.run_all(&r, True)
            else:
                begun = pool_clock()
                with nogil:
                    self.run_all(&r, share is None)
                    ended = pool_clock()
                if pool_clock() - ended > ended - begun:
                    self.queues = QUEUES
            if share is not None:
                run_shared(self, &r, share)
            if trial != NULL:
                tried(trial, pool_clock() - started)
        finally:
            pool_dismiss(r.team)
        return 0

    cdef void run_all(self, Run* r, bint segments) noexcept nogil:
        cdef int s
        cdef cpu_mode mode = flush_denormals()
        if self.before is None:
            for s in range(self.befores):
                self.run_step(&self.steps[s], 0, r.memory, r, r.threads)
        if segments:
            for s in range(self.last + 1):
                self.run_segment(&self.segments[s], r)
        put_back(mode)

    cdef void run_segment(self, const Segment* segment, Run* r) noexcept nogil:
        cdef Py_ssize_t wave = r.wave if segment.reductions < segment.wholes else r.N
        cdef int i
        r.first = 0
        while True:  # once at least: the sums of no images are zero
            r.count = min(wave, r.N - r.first)
            self.run_wave(segment, r)
            for i in range(segment.reductions, segment.wholes):  # of the wave, or at the end of all, if they are kept
                if self.steps[i].home[0] == PARTS:
                    self.run_step(&self.steps[i], r.first, r.memory, r, r.threads)
                elif r.first + r.count >= r.N:
                    self.run_step(&self.steps[i], 0, r.memory, r, r.threads)
            r.first += r.count
            if r.first >= r.N:
                break
        for i in range(segment.wholes, segment.end):
            self.run_step(&self.steps[i], 0, r.memory, r, r.threads)

    cdef void run_wave(self, const Segment* segment, const Run* r) noexcept nogil:
        # The last blocks of one segment are the first ones of the next: they are still in the cache.
        cdef int threads = r.threads if segment.work * r.count >= SHARED_WORK else 1
        cdef Py_ssize_t n
        cdef Wave wave
        wave.steps, wave.segment, wave.run = <void*> self, segment, r
        wave.first, wave.step = r.first, 1
        if (segment - self.segments) % 2:
            wave.first, wave.step = r.first + r.count - 1, -1
        if threads > 1 and r.count >= threads:
            pool_share(r.team, do_block, &wave, r.count, 1)
        else:
            for n in range(r.count):
                self.run_block(segment, wave.first + wave.step * n, r.memory, r, threads)

    cdef void run_block(self, const Segment* segment, Py_ssize_t n, char* memory, const Run* r,
                        int sharing) noexcept nogil:
        cdef int i
        for i in range(segment.first, segment.reductions):
            self.run_step(&self.steps[i], n, memory, r, sharing)

    cdef void run_step(self, const Step* step, Py_ssize_t n, char* memory, const Run* r,
                       int sharing) noexcept nogil:
        # for block n or, if it reduces parts, those of the blocks from n on
        cdef Py_ssize_t room = whole_lines(self.scratch_size), task
        cdef char* scratch = memory + whole_lines(self.arena_size)
        cdef char* args = scratch + room * sharing
        cdef Py_ssize_t* number = <Py_ssize_t*> args + step.pointers
        cdef double work = step.work
        cdef Py_ssize_t tasks = step.tasks
        cdef kernel loop = step.loop
        cdef int j, home
        cdef Tasks shared
        memcpy(args, step.args, step.size)
        for j in range(step.pointers):
            home = step.home[j]
            if home >= 0:
                (<char**> args)[j] = <char*> r.views[home].buf + step.offset[j] + n * step.stride[j]
            elif home == ARENA:
                (<char**> args)[j] = memory + step.offset[j]
            elif home == SHARED:
                (<char**> args)[j] = r.shared + step.offset[j]
            elif home == PARTS:
                (<char**> args)[j] = r.parts + step.offset[j] + (n - r.first) * step.stride[j]
            elif home == KEPT:
                (<char**> args)[j] = r.kept + step.offset[j] + n * step.stride[j]
            if r.sums != NULL and j >= step.inputs:
                (<char**> args)[j] = r.sums + step.sums + (j - step.inputs) * step.each_sum
        if step.marks & LIVE:
            number[0] = min(self.images, r.images - n * self.images)
            number += 1
        if step.marks & REDUCES:
            number[0], number[1], number[2], number[3] = r.N - n, n, r.N, step.stride[0]
            if step.home[0] == PARTS:
                number[0] = r.count
            work *= number[0]
            number += 4
        if step.marks & GATHERS:
            number[0] = step.stride[1]
            number += 1
        if step.marks & NUMBERED:
            number[0] = (r.at + n) * self.images
            number += 1
        if step.marks & BATCH:
            number[0] = r.total
            number += 1
        if step.marks & CUT and sharing > tasks and work >= SMALL_WORK:
            number[0] = sharing // tasks
            tasks *= number[0]
        if loop == self.table.loss:
            (<Loss*> args).scale = (<Loss*> args).scale * r.scale
        if sharing > 1 and tasks > 1 and work >= SMALL_WORK:
            shared.loop, shared.args, shared.scratch, shared.each = loop, args, scratch, room
            # of a small step neighbours go to one thread, which has what they read in its cache
            pool_share(r.team, do_task, &shared, tasks, (tasks + sharing - 1) // sharing if work < SHARED_WORK else 1)
        else:
            for task in range(tasks):
                loop(args, task, scratch)


cdef void do_block(const void* job, Py_ssize_t n, int slot) noexcept nogil:
    cdef const Wave* wave = <const Wave*> job
    (<Steps> wave.steps).run_block(wave.segment, wave.first + wave.step * n, wave.run.memory + slot * wave.run.each,
                                   wave.run, 1)
