/* Whether something of an image is kept is a hash of a key, the number of the image and a number within
 * it.  So it is the same on every thread and instruction set and in the backward pass.
 */
#ifndef CNN_EXT_NOISE_H
#define CNN_EXT_NOISE_H
#include "hash.h"
#include "vec.h"

#if VEC_BYTES > REAL_BYTES
typedef uint32_t hashes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#else
typedef uint32_t hashes;
#endif

/* the two halves of the state that the key, a seed and a counter of 64 bits, makes */
static inline uint32_t hash_key(const uint64_t *key, uint32_t half)
{
    for (int i = 0; i < 2; i++) half = hash_word(half, key[i]);
    return half;
}

/* of LANES images from the first one on */
static inline hashes hash_images(uint32_t half, ptrdiff_t first)
{
    uint32_t lane[LANES];
    hashes h;
    for (int l = 0; l < LANES; l++) lane[l] = hash_number(half ^ (uint32_t)(first + l));
    memcpy(&h, lane, sizeof h);
    return h;
}

/* whether a number of these images is kept, given the other half of the state */
static inline mask hash_keeps(hashes images, uint32_t half, uint32_t number, uint32_t least)
{
    hashes h = images + hash_number(half ^ number);
    AVALANCHE(h)
#if VEC_BYTES > REAL_BYTES
    return __builtin_convertvector(h >= least, mask);
#else
    return h >= least ? (mask)-1 : 0;
#endif
}
#endif
