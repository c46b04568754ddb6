/* What the core asks of the compiler and the operating system: OpenMP, forks, memory, locks. */

#ifndef CNN_EXT_SYSTEM_H
#define CNN_EXT_SYSTEM_H

#ifdef _OPENMP
#include <omp.h>
enum { HAVE_OPENMP = 1 };
static int openmp_limit(void) { return omp_get_max_threads(); }
#else
enum { HAVE_OPENMP = 0 };
static int openmp_limit(void) { return 1; }
#endif

/* libgomp's threads do not survive a fork: a child that enters a parallel region hangs. */
static int forked_child = 0;

#ifdef _MSC_VER
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL __thread
#endif
static THREAD_LOCAL void *active_recorder = NULL;

#ifdef _WIN32

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#include <malloc.h>

static SRWLOCK pool = SRWLOCK_INIT;
static void lock_pool(void) { AcquireSRWLockExclusive(&pool); }
static void unlock_pool(void) { ReleaseSRWLockExclusive(&pool); }

static void watch_forks(void) {}

static void *allocate(Py_ssize_t size) { return _aligned_malloc((size_t)size, 64); }
static void release(void *address) { _aligned_free(address); }

#else

#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t pool = PTHREAD_MUTEX_INITIALIZER;
static void lock_pool(void) { pthread_mutex_lock(&pool); }
static void unlock_pool(void) { pthread_mutex_unlock(&pool); }

/* The forking thread has the lock meanwhile, so the child gets it in order and gives it back. */
static void after_fork_in_child(void)
{
    unlock_pool();
    forked_child = 1;
}
static void watch_forks(void) { pthread_atfork(lock_pool, unlock_pool, after_fork_in_child); }

static void *allocate(Py_ssize_t size)
{
    void *address;
    return posix_memalign(&address, 64, (size_t)size) ? NULL : address;
}
static void release(void *address) { free(address); }

#endif

#endif
