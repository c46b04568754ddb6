/* Threads that share the tasks of a step with the thread that calls.
 *
 * A caller *hires* a team for a run, *shares* one step after the other with it, and *dismisses* it.
 * Who is in a team takes tasks from a counter until none is left; the caller waits for those that were
 * begun, never for a thread that has not come yet, so a thread that the system keeps waiting holds up
 * nobody.  A thread without a task spins for a moment and then sleeps.
 *
 * Threads and teams are kept for the next run and never freed, so one that comes late reads old
 * numbers, but no memory that is gone: the number of the step, which is in the counter too, tells
 * whether what it read belongs together.
 */
#ifndef CNN_EXT_POOL_H
#define CNN_EXT_POOL_H

#include <stddef.h>
#include <stdint.h>

typedef void (*pool_work)(const void *job, ptrdiff_t task, int slot);

#if defined(__GNUC__) || defined(__clang__)

enum { HAVE_THREADS = 1 };
#define POOL_READ(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define POOL_GLANCE(x) __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define POOL_WRITE(x, value) __atomic_store_n(&(x), value, __ATOMIC_SEQ_CST)
#define POOL_NOTE(x, value) __atomic_store_n(&(x), value, __ATOMIC_RELEASE)
#define POOL_ADD(x, value) __atomic_fetch_add(&(x), value, __ATOMIC_SEQ_CST)

#ifdef _WIN32
typedef SRWLOCK pool_lock;
typedef CONDITION_VARIABLE pool_bell;
#define POOL_LOCK(l) AcquireSRWLockExclusive(l)
#define POOL_UNLOCK(l) ReleaseSRWLockExclusive(l)
#define POOL_WAIT(b, l) SleepConditionVariableSRW(b, l, INFINITE, 0)
#define POOL_RING(b) WakeConditionVariable(b)
#define POOL_NEW_LOCK(l) InitializeSRWLock(l)
#define POOL_NEW_BELL(b) InitializeConditionVariable(b)
static long long pool_clock(void) /* nanoseconds */
{
    LARGE_INTEGER now, each;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&each);
    return (long long)((double)now.QuadPart * 1e9 / (double)each.QuadPart);
}
#else
#include <pthread.h>
#include <signal.h>
#include <time.h>
typedef pthread_mutex_t pool_lock;
typedef pthread_cond_t pool_bell;
#define POOL_LOCK(l) pthread_mutex_lock(l)
#define POOL_UNLOCK(l) pthread_mutex_unlock(l)
#define POOL_WAIT(b, l) pthread_cond_wait(b, l)
#define POOL_RING(b) pthread_cond_signal(b)
#define POOL_NEW_LOCK(l) pthread_mutex_init(l, NULL)
#define POOL_NEW_BELL(b) pthread_cond_init(b, NULL)
static long long pool_clock(void) /* nanoseconds */
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000000 + now.tv_nsec;
}
#endif

#if defined(__x86_64__) || defined(__i386__)
#define POOL_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define POOL_PAUSE() __asm__ __volatile__("yield")
#else
#define POOL_PAUSE() ((void)0)
#endif

enum {
    POOL_STEP = 1 << 24,        /* from the number of a step to the next in a counter of chunks */
    POOL_CHUNKS = 1 << 22,      /* of a step, at most */
    POOL_CLOSED = 1 << 23,      /* where the counter stands while the next step is written down */
    POOL_SPIN = 100000,         /* nanoseconds for which a thread without a task looks for one, */
    POOL_PATIENCE = 1000000,    /* and if the last one came within so many */
    POOL_AWAY = 100000,         /* nanoseconds between two looks after which another process has the CPU too, */
    POOL_WARY = 1000            /* so that for so many sleeps a thread has no patience */
};

typedef struct {
    pool_lock lock;
    pool_bell bell;
    int asleep;
    long long spin;             /* nanoseconds for which its thread looks around before it sleeps */
    int wary;                   /* sleeps for which it has no patience */
} pool_bed;

typedef struct pool_worker pool_worker;

typedef struct pool_team {
    uint64_t counter;           /* POOL_STEP times the number of the step, and the next chunk */
    uint64_t region;            /* which hiring this is */
    uint64_t tasks, chunk, chunks;
    pool_work work;
    const void *job;
    uint64_t done;              /* chunks */
    pool_bed bed;               /* of the caller */
    int threads;
    pool_worker *workers;
    struct pool_team *next;     /* of those without a caller */
} pool_team;

struct pool_worker {
    uint64_t hired;             /* rises before and after what follows is written */
    pool_team *team;
    uint64_t region;
    int slot;                   /* in the team, from 1; the caller has 0 */
    pool_bed bed;
    pool_worker *next;          /* of its team, or of those without one */
};

/* Under the lock of the memory: */
static pool_team *pool_teams = NULL;
static pool_worker *pool_idle = NULL;
static uint64_t pool_regions = 0;
static int pool_active = 0;     /* threads that are in a run, the callers among them */
static int pool_cpus = 1;
static pool_team pool_alone = {.threads = 1}; /* stands for a caller for whose team there is no room */

static void pool_make_bed(pool_bed *bed)
{
    POOL_NEW_LOCK(&bed->lock);
    POOL_NEW_BELL(&bed->bell);
    bed->asleep = 0;
    bed->spin = POOL_SPIN;
    bed->wary = 0;
}

static void pool_wake(pool_bed *bed)
{
    if (!POOL_READ(bed->asleep))
        return;
    POOL_LOCK(&bed->lock); /* it may have looked for the last time and not be in bed yet */
    POOL_UNLOCK(&bed->lock);
    POOL_RING(&bed->bell);
}

/* Wait until ready(x), which others bring about before they call `pool_wake`. */
static void pool_wait(int (*ready)(const void *x), const void *x, pool_bed *bed)
{
    long long since = 0, last = 0, now;
    while (POOL_GLANCE(pool_active) <= POOL_GLANCE(pool_cpus)) {
        for (int i = 0; i < 32; i++) {
            if (ready(x))
                return;
            POOL_PAUSE();
        }
        now = pool_clock();
        if (!since)
            since = last = now;
        if (now - last > POOL_AWAY) /* who looks around for long is served late when there is work */
            bed->wary = POOL_WARY;
        last = now;
        if (now - since > bed->spin || bed->wary == POOL_WARY)
            break;
    }
    POOL_LOCK(&bed->lock);
    POOL_WRITE(bed->asleep, 1);
    while (!ready(x))
        POOL_WAIT(&bed->bell, &bed->lock);
    POOL_WRITE(bed->asleep, 0);
    POOL_UNLOCK(&bed->lock);
    bed->wary -= bed->wary > 0;
    bed->spin = !bed->wary && since && pool_clock() - since < POOL_PATIENCE ? POOL_PATIENCE : POOL_SPIN;
}

/* Take a chunk of the team's step, if it has one left for this hiring: whether to ask again, and the
 * counter as it was. */
static int pool_take(pool_team *team, uint64_t region, int slot, uint64_t *counter)
{
    uint64_t at = *counter = POOL_READ(team->counter), n = at % POOL_STEP;
    uint64_t chunks = POOL_GLANCE(team->chunks), chunk = POOL_GLANCE(team->chunk);
    uint64_t tasks = POOL_GLANCE(team->tasks), last;
    pool_work work = POOL_GLANCE(team->work);
    const void *job = POOL_GLANCE(team->job);
    if (n >= chunks || POOL_GLANCE(team->region) != region)
        return 0;
    /* where the counter is what it was, so is all that was read since */
    if (!__atomic_compare_exchange_n(&team->counter, &at, at + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return 1;
    last = (n + 1) * chunk < tasks ? (n + 1) * chunk : tasks;
    for (uint64_t task = n * chunk; task < last; task++)
        work(job, (ptrdiff_t)task, slot);
    if (POOL_ADD(team->done, 1) + 1 == chunks && slot)
        pool_wake(&team->bed);
    return 1;
}

typedef struct {
    const pool_worker *me;
    const pool_team *team;      /* NULL: only another hiring has work for this thread */
    uint64_t hired, counter;
} pool_news;

static int pool_is_news(const void *x)
{
    const pool_news *last = (const pool_news *)x;
    return POOL_READ(last->me->hired) != last->hired
        || (last->team && POOL_READ(last->team->counter) / POOL_STEP != last->counter / POOL_STEP);
}

static void pool_serve(pool_worker *me)
{
    for (;;) {
        pool_news last = {me, NULL, POOL_READ(me->hired), 0};
        pool_team *team = POOL_GLANCE(me->team);
        uint64_t region = POOL_GLANCE(me->region);
        int slot = POOL_GLANCE(me->slot);
        if (last.hired % 2 || POOL_READ(me->hired) != last.hired)
            continue;
        while (pool_take(team, region, slot, &last.counter))
            ;
        if (POOL_READ(team->region) == region)
            last.team = team;
        pool_wait(pool_is_news, &last, &me->bed);
    }
}

static void pool_main(void *worker)
{
    flush_denormals();
    pool_serve((pool_worker *)worker);
}

/* By the function of Python, which knows how on every system; signals are for the threads of the program. */
static int pool_start(pool_worker *worker)
{
#ifdef _WIN32
    return PyThread_start_new_thread(pool_main, worker) != (unsigned long)-1;
#else
    sigset_t all, before;
    unsigned long made;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before); /* of the calling thread */
    made = PyThread_start_new_thread(pool_main, worker);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return made != (unsigned long)-1;
#endif
}

/* A thread without a team, or a new one, for this team; under the lock.  Whether there is one. */
static int pool_join(pool_team *team)
{
    pool_worker *worker = pool_idle;
    int is_new = !worker;
    if (is_new) {
        worker = (pool_worker *)calloc(1, sizeof *worker);
        if (!worker)
            return 0;
        pool_make_bed(&worker->bed);
    } else
        pool_idle = worker->next;
    POOL_ADD(worker->hired, 1);
    POOL_NOTE(worker->team, team);
    POOL_NOTE(worker->region, team->region);
    POOL_NOTE(worker->slot, team->threads);
    POOL_ADD(worker->hired, 1);
    if (is_new && !pool_start(worker)) {
        free(worker);
        return 0;
    }
    worker->next = team->workers;
    team->workers = worker;
    return 1;
}

/* Give back what `pool_hire` gave; NULL is nothing. */
static void pool_dismiss(pool_team *team)
{
    if (!team)
        return;
    lock_pool();
    POOL_NOTE(pool_active, pool_active - team->threads);
    while (team->workers) {
        pool_worker *worker = team->workers;
        team->workers = worker->next;
        worker->next = pool_idle;
        pool_idle = worker;
    }
    if (team != &pool_alone) {
        team->next = pool_teams;
        pool_teams = team;
    }
    unlock_pool();
}

/* A team of at most so many threads, the caller among them, but no more than the CPUs have room for
 * beside the teams of other callers; NULL if a thread cannot be started. */
static pool_team *pool_hire(int threads)
{
    pool_team *team = &pool_alone;
    int room, failed = 0;
    lock_pool();
    room = (threads > pool_cpus ? threads : pool_cpus) - pool_active;
    POOL_NOTE(pool_active, pool_active + 1);
    if (room > 1) {
        team = pool_teams;
        if (team)
            pool_teams = team->next;
        else if ((team = (pool_team *)calloc(1, sizeof *team)))
            pool_make_bed(&team->bed);
        else {
            POOL_NOTE(pool_active, pool_active - 1);
            room = 0;
        }
    }
    if (room > 1) {
        POOL_WRITE(team->counter, POOL_READ(team->counter) / POOL_STEP * POOL_STEP + POOL_CLOSED);
        POOL_NOTE(team->region, ++pool_regions);
        team->workers = NULL;
        team->threads = 1;
        while (team->threads < threads && team->threads < room && !(failed = !pool_join(team))) {
            team->threads++;
            POOL_NOTE(pool_active, pool_active + 1);
        }
    }
    unlock_pool();
    if (failed) {
        pool_dismiss(team);
        return NULL;
    }
    for (pool_worker *worker = team ? team->workers : NULL; worker; worker = worker->next)
        pool_wake(&worker->bed);
    return team;
}

static int pool_is_done(const void *x)
{
    const pool_team *team = (const pool_team *)x;
    return POOL_READ(team->done) == POOL_GLANCE(team->chunks);
}

/* work(job, task, slot) for every task, so many at a time, on the threads of the team; two with the
 * same slot are never at work at once. */
static void pool_share(pool_team *team, pool_work work, const void *job, ptrdiff_t tasks, ptrdiff_t chunk)
{
    uint64_t step = POOL_READ(team->counter) / POOL_STEP, counter, chunks;
    pool_worker *worker = team->workers;
    if (chunk <= tasks / POOL_CHUNKS)
        chunk = tasks / POOL_CHUNKS + 1;
    chunks = ((uint64_t)tasks + chunk - 1) / chunk;
    POOL_WRITE(team->counter, step * POOL_STEP + POOL_CLOSED);
    POOL_NOTE(team->work, work);
    POOL_NOTE(team->job, job);
    POOL_NOTE(team->tasks, (uint64_t)tasks);
    POOL_NOTE(team->chunk, (uint64_t)chunk);
    POOL_NOTE(team->chunks, chunks);
    POOL_NOTE(team->done, 0);
    POOL_WRITE(team->counter, (step + 1) * POOL_STEP);
    for (uint64_t n = 1; worker && n < chunks; n++, worker = worker->next)
        pool_wake(&worker->bed);
    while (pool_take(team, team->region, 0, &counter))
        ;
    pool_wait(pool_is_done, team, &team->bed);
}

/* In a forked child there is none of the threads; what they had is left alone. */
static void pool_forget(void)
{
    pool_teams = NULL;
    pool_idle = NULL;
    pool_active = 0;
}

#else

/* a compiler without these: one thread */
enum { HAVE_THREADS = 0 };
typedef struct {
    int threads;
} pool_team;
static int pool_cpus = 1;
static pool_team *pool_hire(int threads) { return (void)threads, NULL; }
static void pool_dismiss(pool_team *team) { (void)team; }
static void pool_share(pool_team *team, pool_work work, const void *job, ptrdiff_t tasks, ptrdiff_t chunk)
{
    (void)team, (void)chunk;
    for (ptrdiff_t task = 0; task < tasks; task++)
        work(job, task, 0);
}
static void pool_forget(void) {}

#endif
#endif
