# The lives of memory during a recording: from which step to which one each piece was taken.
#
# Memory may die in another thread than the one that records, so they are touched under the lock of
# the memory.

cdef enum:
    NEW                        # nothing that a recording knows is in it
    CONSTANT                   # what depends on constants alone
    WHOLE                      # what depends on the streams and belongs to the whole batch
    STREAM                     # what depends on the streams, block by block

cdef struct Life:
    uintptr_t address
    Py_ssize_t size
    int first, end             # steps: taken before the one, given back before the other
    int holds                  # one of the above
    int ready, read            # segments: of the last call that writes it, of the last one that must
                               # have read it before it is written again
    int least, most            # segments in which it is used
    bint reduced, gathered     # its parts are, those of a wave or of the batch
    int home                   # where it is in a run, as in `Step`
    Py_ssize_t offset
    bint used                  # by a step
    bint before                # what is in it was made before the blocks
    Lives** owner              # where its `Memory` knows its recorder; NULL if it is given back

cdef struct Lives:
    Life* life
    int count, room
    int steps                  # so far


cdef int born(Lives* lives, char* address, Py_ssize_t size, Lives** owner, int* number) except -1:
    cdef Life* more = NULL
    cdef Life* life
    cdef bint full
    lock_pool()
    full = lives.count == lives.room
    if full:
        more = <Life*> realloc(lives.life, 2 * (lives.room + 32) * sizeof(Life))
        if more != NULL:
            lives.life = more
            lives.room = 2 * (lives.room + 32)
    if not full or more != NULL:
        life = &lives.life[lives.count]
        life.address, life.size, life.owner = <uintptr_t> address, size, owner
        life.first, life.end, life.holds, life.used, life.before = lives.steps, -1, NEW, False, False
        life.ready, life.read, life.reduced, life.gathered = 0, -1, False, False
        owner[0], number[0] = lives, lives.count
        lives.count += 1
        full = False
    unlock_pool()
    if full:
        raise MemoryError("recording")
    return 0


cdef void died(Lives** owner, int number) noexcept:
    cdef Lives* lives
    lock_pool()
    lives = owner[0]
    if lives != NULL:          # it still records
        lives.life[number].owner = NULL
        lives.life[number].end = lives.steps
        # what no step uses leaves nothing behind, so that other work meanwhile costs no room
        while lives.count and lives.life[lives.count - 1].owner == NULL and not lives.life[lives.count - 1].used:
            lives.count -= 1
    unlock_pool()


cdef void let_go(Lives* lives) noexcept:
    # the recording is over: no memory tells of its end any more
    cdef int i
    lock_pool()
    for i in range(lives.count):
        if lives.life[i].owner != NULL:
            lives.life[i].owner[0] = NULL
            lives.life[i].end = lives.steps
    unlock_pool()


cdef int life_at(const Lives* lives, uintptr_t address) noexcept:
    # the number of the memory that this address lies in; -1 if there is none
    cdef int i
    cdef const Life* life
    for i in range(lives.count - 1, -1, -1):
        life = &lives.life[i]
        if life.owner != NULL and life.address <= address < life.address + life.size:
            return i
    return -1
