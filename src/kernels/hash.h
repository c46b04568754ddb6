/* Chance without state: numbers that are a hash of a key and of where they are used, so that they are the
 * same whoever computes them, on every thread and instruction set.
 */
#ifndef CNN_EXT_HASH_H
#define CNN_EXT_HASH_H
#include <stdint.h>

/* "lowbias32" with the constants found best: every bit of x changes each bit of the result for nearly
 * half of all x.  A macro, as x is a number or a vector of them. */
#define AVALANCHE(x)    \
    x ^= x >> 16;       \
    x *= 0x21f0aaadu;   \
    x ^= x >> 15;       \
    x *= 0xd35a2d97u;   \
    x ^= x >> 15;

static inline uint32_t hash_number(uint32_t x) { AVALANCHE(x) return x; }

/* a state of 32 bits that has taken in a word of 64 */
static inline uint32_t hash_word(uint32_t state, uint64_t word)
{
    state = hash_number(state ^ (uint32_t)word) + 0x9e3779b9u;
    return hash_number(state ^ (uint32_t)(word >> 32)) + 0x85ebca6bu;
}
#endif
