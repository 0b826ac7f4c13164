/* One pass of a tape over one block, strip by strip, so that what lies between two steps never
   leaves the first-level cache. Each operation is rounded on its own, as in reference.py, whose bytes
   these are: built without contraction into fused multiply-adds, and without fast arithmetic.

   A strip is a row of the sums of reduce.py, 16 strips are a unit of them. Stored tensors are read
   some units at a time, which stay in the second-level cache. */

#include <errno.h>
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define STRIP 1024
#define UNIT 16384
#define LANES 32
#define READ 65536

enum {
    LOAD, LOAD_HALF, STORE, STORE_HALF, FILL, KEEP, UNIFORM, WHERE,
    CHOSEN_FROM, CHOSEN_ABOVE, CHOSEN_SOME,
    ADD, SUB, MUL, DIV, LT, LE, EQ, NEG, ABS, SIGN, SQRT,
    AND, OR, NOT, FILL_MASK, DOT, TOTAL, RANK
};

/* `out`, `a`, `b`, `c` number blocks or masks, or loads and sums; below 0 a number stands instead:
   `x` for the first operand that can be one, `y` for the second. */
struct step {
    int32_t op, out, a, b, c;
    float x, y;
    uint32_t share;      /* of KEEP: the probability in units of 2^-32 */
    uint64_t low, high;  /* of KEEP and UNIFORM: the name of the stream; of CHOSEN_SOME all equal to
                            `x` are chosen before element `high` of the tensor, `low` more from
                            there on; of RANK `low` is the elements of a row */
};

struct pass {
    struct step *steps;
    int64_t count_of_steps;
    float **blocks;            /* by number; those that move hold a whole block, others a strip */
    const int64_t *blocks_move;
    uint8_t **masks;
    const int64_t *masks_move;
    uint16_t **loads;          /* buffers for stored bfloat16 or float16: READ elements each, or
                                  where there is RANK the rows of a piece, if they are more */
    const int32_t *files;      /* of each load: where it is read, */
    const int64_t *offsets;    /* and the byte there that the tensor begins at */
    uint32_t *largest;         /* of each load, and last of what is stored: magnitude as bits */
    double **sums;             /* of each sum: LANES numbers for each unit of this block */
    double *rows;              /* of each sum: STRIP numbers of scratch */
    uint16_t *stored;          /* bfloat16 or float16 */
    int64_t count_of_loads;
    uint32_t *scratch;         /* of RANK: two numbers for each element of a row, 2^16 at most */
    const int32_t *vectors;    /* where all sums are dots of loads and differences of two loads: of */
    const int32_t *dots;       /* each vector the two loads, or one and -1; of each pair of vectors */
    int64_t count_of_vectors;  /* (0 0, 0 1, .., 1 1, ..) its sum, or -1. MOST of them at most */
    int64_t read;              /* the element of this block that the buffers of loads begin at */
    int64_t failed;            /* where a read has failed: the byte of the file, */
    int64_t error;             /* and why; 0: the file has ended */
};

static const uint64_t GOLDEN = 0x9E3779B97F4A7C15u;

static uint64_t keys_of(uint64_t low, uint64_t high, uint64_t position)
{
    uint64_t z = low, parts[2] = {high, position};
    for (int i = 0; i < 2; i++) {
        z += GOLDEN + parts[i];
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z ^= z >> 31;
    }
    return z;
}

static uint64_t keys_of_lane(uint64_t low, uint64_t high, uint64_t lane, uint64_t position)
{
    return keys_of(high + (lane + 1) * 0xD1342543DE82EF95u, low, position);
}

static inline uint32_t mixed(uint32_t x, uint32_t key, uint32_t other)
{
    x ^= key;
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x += other;
    x *= 0x846CA68Bu;
    x ^= x >> 16;
    return x;
}

static void words_of(uint64_t keys, uint64_t first, uint32_t *words)
{
    uint32_t key = (uint32_t)keys, other = (uint32_t)(keys >> 32), start = (uint32_t)first;
    for (uint32_t i = 0; i < STRIP / 2; i++)
        words[i] = mixed(start + i, key, other);
}

static void keep(const struct step *s, uint64_t at, int64_t n, uint8_t *restrict out)
{
    uint32_t words[STRIP / 2];
    uint16_t bits[STRIP];
    uint16_t high = s->share >> 16, low = s->share & 0xFFFF;
    words_of(keys_of(s->low, s->high, (at / 2) >> 32), at / 2, words);
    memcpy(bits, words, sizeof bits);
    int edge = 0;
    for (int64_t j = 0; j < STRIP; j++) {
        out[j] = bits[j] < high;
        edge |= bits[j] == high;
    }
    if (!low || !edge)
        return;
    for (int64_t j = 0; j < n; j++)
        if (bits[j] == high) {
            uint64_t keys = keys_of_lane(s->low, s->high, 99, (at + j) >> 32);
            uint32_t x = mixed((uint32_t)(at + j), (uint32_t)keys, (uint32_t)(keys >> 32));
            out[j] = (x & 0xFFFF) < low;
        }
}

static void uniform(const struct step *s, uint64_t at, float *restrict out)
{
    uint32_t words[2][STRIP / 2];
    uint16_t bits[2][STRIP];
    uint64_t first = at / 2;
    words_of(keys_of(s->low, s->high, first >> 32), first, words[0]);
    words_of(keys_of_lane(s->low, s->high, 98, first >> 32), first, words[1]);
    memcpy(bits, words, sizeof bits);
    for (int64_t j = 0; j < STRIP; j++)
        out[j] = (float)bits[0][j] * 0x1p-16f + (float)(bits[1][j] >> 8) * 0x1p-24f;
}

static uint32_t load(const uint16_t *restrict from, int64_t n, float *restrict out)
{
    uint32_t largest = 0, *bits = (uint32_t *)out;
    for (int64_t j = 0; j < n; j++) {
        uint32_t x = from[j], magnitude = x & 0x7FFF;
        bits[j] = x << 16;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

static uint32_t store(const float *restrict from, int64_t n, uint16_t *restrict out)
{
    uint32_t largest = 0;
    for (int64_t j = 0; j < n; j++) {
        uint32_t x;
        memcpy(&x, from + j, 4);
        x = (x + 0x7FFF + ((x >> 16) & 1)) >> 16;
        out[j] = (uint16_t)x;
        x &= 0x7FFF;
        largest = x > largest ? x : largest;
    }
    return largest;
}

static uint32_t load_half(const uint16_t *restrict from, int64_t n, float *restrict out)
{
    uint32_t largest = 0, *bits = (uint32_t *)out;
    for (int64_t j = 0; j < n; j++) {
        uint32_t magnitude = from[j] & 0x7FFF, sign = (uint32_t)(from[j] & 0x8000) << 16, x, y;
        /* The exponent is shifted and, by an exact product, moved: subnormal numbers come right. */
        float wide, moved;
        x = magnitude << 13;
        memcpy(&wide, &x, 4);
        moved = wide * 0x1p112f;
        memcpy(&y, &moved, 4);
        y = magnitude < 0x7C00 ? y : x | 0x7F800000 | (uint32_t)(magnitude > 0x7C00) << 22;
        bits[j] = y | sign;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

static uint32_t store_half(const float *restrict from, int64_t n, uint16_t *restrict out)
{
    uint32_t largest = 0;
    for (int64_t j = 0; j < n; j++) {
        uint32_t x, sign, small, normal;
        memcpy(&x, from + j, 4);
        sign = x >> 16 & 0x8000;
        x &= 0x7FFFFFFF;
        /* Beside a half the last place of a float is that of a subnormal float16. */
        float magnitude, beside;
        memcpy(&magnitude, &x, 4);
        beside = magnitude + 0.5f;
        memcpy(&small, &beside, 4);
        small -= 0x3F000000;
        normal = (x - 0x38000000 + 0xFFF + (x >> 13 & 1)) >> 13;
        x = x < 0x38800000 ? small : x >= 0x47800000 ? 0x7C00 : normal;
        out[j] = (uint16_t)(x | sign);
        largest = x > largest ? x : largest;
    }
    return largest;
}

#define DIGIT 10
#define DIGITS (1 << DIGIT)
#define LAST (31 - 2 * DIGIT)

/* Places of magnitudes within a row, ascending; of equal ones the first comes last. A radix sort by
   the upper 20 of 31 bits, from the last element to the first, so that it is stable; what is left
   to be put in order differs in the last bits alone, and is rare. All of it stays in the
   first-level cache, where a row has some thousands of elements. */
static void rank_many(const float *restrict x, int64_t n, uint32_t *restrict scratch,
                      float *restrict out)
{
    uint16_t low[2][DIGITS] = {0}, high[2][DIGITS] = {0};  /* two chains of increments each */
    uint32_t *packed = scratch;  /* upper digit, then position */
    uint16_t *order = (uint16_t *)(scratch + n);
    const uint32_t *bits = (const uint32_t *)x;
    for (int64_t j = 0; j < n; j++) {
        uint32_t key = bits[j] & 0x7FFFFFFF;
        low[j & 1][key >> LAST & (DIGITS - 1)]++;
        high[j & 1][key >> (LAST + DIGIT)]++;
    }
    for (int i = 0; i < DIGITS; i++) {
        low[0][i] += low[1][i];
        high[0][i] += high[1][i];
    }
    uint16_t l = 0, h = 0;
    for (int i = 0; i < DIGITS; i++) {
        uint16_t count = low[0][i];
        low[0][i] = l;
        l += count;
        count = high[0][i];
        high[0][i] = h;
        h += count;
    }
    for (int64_t j = n - 1; j >= 0; j--) {
        uint32_t key = bits[j] & 0x7FFFFFFF;
        packed[low[0][key >> LAST & (DIGITS - 1)]++] = key >> (LAST + DIGIT) << 16 | (uint32_t)j;
    }
    for (int64_t j = 0; j < n; j++)
        order[high[0][packed[j] >> 16]++] = (uint16_t)packed[j];
    uint32_t before = 0;
    for (int64_t j = 0; j < n; j++) {
        uint32_t place = order[j], key = bits[place] & 0x7FFFFFFF;
        if (key >= before) {
            before = key;
            out[place] = (float)j;
            continue;
        }
        int64_t at = j;
        for (; at && (bits[order[at - 1]] & 0x7FFFFFFF) > key; at--) {
            order[at] = order[at - 1];
            out[order[at]] = (float)at;
        }
        order[at] = (uint16_t)place;
        out[place] = (float)at;
    }
}

#define OCTAVES 8
#define FINE 15  /* bits of a magnitude that its bucket does not tell */
#define BUCKETS ((OCTAVES << (23 - FINE)) + 1)

static inline uint32_t bucket_of(uint32_t key, uint32_t floor)
{
    return (((key - floor) >> FINE) + 1) & -(uint32_t)(key >= floor);  /* built without a branch */
}

/* The same without a sort, half as long, where nearly all magnitudes are the lowest of their
   buckets, as those of differences of bfloat16 are: then a place is what lies in the buckets before,
   and a count. The few others stand behind them in their bucket. Gives whether it was so. */
static int rank_few(const float *restrict x, int64_t n, uint32_t *restrict scratch,
                    float *restrict out)
{
    uint16_t *bucket = (uint16_t *)scratch;  /* BUCKETS: one of the others */
    uint32_t *others = scratch + n, largest = 0, count = 0;
    const uint32_t *bits = (const uint32_t *)x;
    for (int64_t j = 0; j < n; j++) {
        uint32_t key = bits[j] & 0x7FFFFFFF;
        largest = key > largest ? key : largest;
    }
    uint32_t floor = largest >> 23 < OCTAVES ? 0 : ((largest >> 23) - OCTAVES + 1) << 23;
    for (int64_t j = 0; j < n; j++) {
        uint32_t key = bits[j] & 0x7FFFFFFF;
        uint32_t more = key & (((1 << FINE) - 1) | -(uint32_t)(key < floor));
        bucket[j] = (uint16_t)(more ? BUCKETS : bucket_of(key, floor));
        count += more != 0;
    }
    if (count > n / 32)
        return 0;
    /* Of the second half of the row, which comes first, and of the first: two chains again. */
    uint16_t places[2][BUCKETS + 1] = {0};
    int64_t half = n / 2;
    for (int64_t j = 0; j < half; j++) {
        places[0][bucket[half + j]]++;
        places[1][bucket[j]]++;
    }
    if (n % 2)
        places[0][bucket[n - 1]]++;
    for (uint32_t i = 0, found = 0; found < count; i++) {
        if (bucket[i] != BUCKETS)
            continue;
        uint32_t key = bits[i] & 0x7FFFFFFF, at = found++;
        for (; at && (bits[others[at - 1]] & 0x7FFFFFFF) >= key; at--)
            others[at] = others[at - 1];
        others[at] = i;
        places[1][bucket_of(key, floor)]++;
    }
    uint16_t before = 0;
    for (int64_t i = 0; i < BUCKETS; i++) {
        uint16_t second = places[0][i], first = places[1][i];
        places[0][i] = before;
        places[1][i] = before + second;
        before += second + first;
    }
    if (n % 2)
        out[n - 1] = (float)places[0][bucket[n - 1]]++;
    for (int64_t j = half - 1; j >= 0; j--) {
        out[half + j] = (float)places[0][bucket[half + j]]++;
        out[j] = (float)places[1][bucket[j]]++;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = bits[others[i]] & 0x7FFFFFFF;
        out[others[i]] = (float)places[1][bucket_of(key, floor)]++;
    }
    return 1;
}

/* A row of a sum: the first of a unit is the sum, others are added to it; zeros beyond `n`. */
static void add_row(const float *a, const float *b, int64_t n, int first, double *restrict row)
{
    if (n == STRIP && first) {
        for (int64_t j = 0; j < STRIP; j++)
            row[j] = b ? (double)a[j] * (double)b[j] : (double)a[j];
    } else if (n == STRIP) {
        if (b)
            for (int64_t j = 0; j < STRIP; j++)
                row[j] += (double)a[j] * (double)b[j];
        else
            for (int64_t j = 0; j < STRIP; j++)
                row[j] += (double)a[j];
    } else {
        for (int64_t j = 0; j < STRIP; j++) {
            double x = j >= n ? 0.0 : b ? (double)a[j] * (double)b[j] : (double)a[j];
            row[j] = first ? x : row[j] + x;
        }
    }
}

static void end_unit(double *restrict row, int whole, double *restrict lanes)
{
    if (!whole)  /* the rows that are not there are zeros */
        for (int64_t j = 0; j < STRIP; j++)
            row[j] += 0.0;
    for (int64_t j = 0; j < LANES; j++)
        lanes[j] = row[j];
    for (int64_t i = 1; i < STRIP / LANES; i++)
        for (int64_t j = 0; j < LANES; j++)
            lanes[j] += row[i * LANES + j];
}

/* The dots of all pairs of vectors over a whole unit, straight from what is stored. A product of two
   float32 is exact in float64; the order of the additions is that of add_row and end_unit. */

#define MOST 4
#define PAIRS (MOST * (MOST + 1) / 2)
#define PART 8  /* elements at a time */

typedef uint16_t stored8 __attribute__((vector_size(2 * PART)));
typedef uint32_t bits8 __attribute__((vector_size(4 * PART)));
typedef float float8 __attribute__((vector_size(4 * PART)));
typedef double double8 __attribute__((vector_size(8 * PART)));

static inline float8 widened(const uint16_t *from)
{
    stored8 x;
    memcpy(&x, from, sizeof x);
#ifdef __AVX2__  /* what compilers make of the other takes three times as long */
    return (float8)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)x), 16);
#else
    return (float8)(__builtin_convertvector(x, bits8) << 16);
#endif
}

static inline double8 doubled(float8 x)
{
#ifdef __AVX512F__
    return (double8)_mm512_cvtps_pd((__m256)x);
#else
    return __builtin_convertvector(x, double8);
#endif
}

static inline __attribute__((always_inline)) void dots_of(
    const int count, const uint16_t *const *first, const uint16_t *const *second, double8 *rows,
    double8 *lanes)
{
    const int pairs = count * (count + 1) / 2, parts = LANES / PART;
    for (int64_t i = 0; i < UNIT; i += PART) {
        double8 x[MOST], *row = rows + i % STRIP / PART * pairs;
        for (int v = 0; v < count; v++) {
            float8 one = widened(first[v] + i);
            x[v] = doubled(second[v] ? one - widened(second[v] + i) : one);
        }
        for (int a = 0; a < count; a++)
            for (int b = a; b < count; b++, row++)
                *row = i < STRIP ? x[a] * x[b] : *row + x[a] * x[b];
    }
    for (int part = 0; part < STRIP / PART; part++)
        for (int pair = 0; pair < pairs; pair++, rows++) {
            double8 *lane = lanes + pair * parts + part % parts;
            *lane = part < parts ? *rows : *lane + *rows;
        }
}

static void dots(struct pass *pass, int64_t at)
{
    const uint16_t *first[MOST], *second[MOST];
    double8 rows[STRIP / PART * PAIRS], lanes[LANES / PART * PAIRS];
    int count = (int)pass->count_of_vectors;
    for (int64_t i = 0; i < pass->count_of_loads; i++) {
        const uint16_t *from = pass->loads[i] + (at - pass->read);
        uint16_t largest = 0;
        for (int64_t j = 0; j < UNIT; j++) {
            uint16_t magnitude = from[j] & 0x7FFF;
            largest = magnitude > largest ? magnitude : largest;
        }
        pass->largest[i] = largest > pass->largest[i] ? largest : pass->largest[i];
    }
    for (int v = 0; v < count; v++) {
        const int32_t *loads = pass->vectors + 2 * v;
        first[v] = pass->loads[loads[0]] + (at - pass->read);
        second[v] = loads[1] < 0 ? 0 : pass->loads[loads[1]] + (at - pass->read);
    }
    switch (count) {
    case 1: dots_of(1, first, second, rows, lanes); break;
    case 2: dots_of(2, first, second, rows, lanes); break;
    case 3: dots_of(3, first, second, rows, lanes); break;
    case 4: dots_of(4, first, second, rows, lanes); break;
    }
    for (int pair = 0; pair < count * (count + 1) / 2; pair++)
        if (pass->dots[pair] >= 0)
            memcpy(pass->sums[pass->dots[pair]] + at / UNIT * LANES, lanes + pair * (LANES / PART),
                   LANES * sizeof(double));
}

#define EACH _Pragma("GCC ivdep") for (int64_t j = 0; j < n; j++)

#define BINARY(OP, KIND, OUT, EXPR) \
    case OP: { \
        KIND *out = OUT; \
        if (s->a < 0) { const float p = s->x; EACH { const float q = b[j]; out[j] = EXPR; } } \
        else if (s->b < 0) { const float q = s->y; EACH { const float p = a[j]; out[j] = EXPR; } } \
        else EACH { const float p = a[j], q = b[j]; out[j] = EXPR; } \
        break; \
    }

#define UNARY(OP, EXPR) \
    case OP: { \
        float *out = BLOCK(s->out); \
        EACH { const float p = a[j]; out[j] = EXPR; } \
        break; \
    }

#define BLOCK(i) (pass->blocks[i] + pass->blocks_move[i] * at)
#define MASK(i) (pass->masks[i] + pass->masks_move[i] * at)

static void strip(struct pass *pass, int64_t first, int64_t last, uint64_t start, int64_t at,
                  int64_t n, int64_t count)
{
    for (int64_t i = first; i < last; i++) {
        struct step *s = pass->steps + i;
        const float *a = s->op <= SQRT && s->op >= CHOSEN_FROM && s->a >= 0 ? BLOCK(s->a) : 0;
        const float *b = s->op <= SQRT && s->op >= ADD && s->b >= 0 ? BLOCK(s->b) : 0;
        switch (s->op) {
        case LOAD:
        case LOAD_HALF: {
            uint32_t found = (s->op == LOAD ? load : load_half)(
                pass->loads[s->a] + (at - pass->read), n, BLOCK(s->out));
            uint32_t *largest = pass->largest + s->a;
            *largest = found > *largest ? found : *largest;
            break;
        }
        case STORE:
        case STORE_HALF: {
            uint32_t found = (s->op == STORE ? store : store_half)(
                BLOCK(s->a), n, pass->stored + at);
            uint32_t *largest = pass->largest + pass->count_of_loads;
            *largest = found > *largest ? found : *largest;
            break;
        }
        case FILL: {
            float *out = BLOCK(s->out);
            EACH out[j] = s->x;
            break;
        }
        case FILL_MASK:
            memset(MASK(s->out), s->a, n);
            break;
        case KEEP: {
            uint8_t kept[STRIP];
            keep(s, start + at, n, kept);
            memcpy(MASK(s->out), kept, n);
            break;
        }
        case UNIFORM: {
            float drawn[STRIP];
            uniform(s, start + at, drawn);
            memcpy(BLOCK(s->out), drawn, 4 * n);
            break;
        }
        case WHERE: {
            const uint8_t *m = MASK(s->a);
            uint32_t x, y, *out = (uint32_t *)BLOCK(s->out);
            memcpy(&x, &s->x, 4);
            memcpy(&y, &s->y, 4);
            const uint32_t *yes = s->b < 0 ? 0 : (const uint32_t *)BLOCK(s->b);
            const uint32_t *no = s->c < 0 ? 0 : (const uint32_t *)BLOCK(s->c);
            if (yes && no)
                EACH out[j] = m[j] ? yes[j] : no[j];
            else if (yes)
                EACH out[j] = m[j] ? yes[j] : y;
            else if (no)
                EACH out[j] = m[j] ? x : no[j];
            else
                EACH out[j] = m[j] ? x : y;
            break;
        }
        case CHOSEN_FROM: {
            uint8_t *out = MASK(s->out);
            EACH out[j] = fabsf(a[j]) >= s->x;
            break;
        }
        case CHOSEN_ABOVE: {
            uint8_t *out = MASK(s->out);
            EACH out[j] = fabsf(a[j]) > s->x;
            break;
        }
        case CHOSEN_SOME: {
            uint8_t *out = MASK(s->out);
            uint64_t equal = 0, left = s->high > start + at ? s->high - start - at : 0;
            int64_t before = left < (uint64_t)n ? (int64_t)left : n;
            EACH {
                out[j] = fabsf(a[j]) > s->x;
                equal += fabsf(a[j]) == s->x;
            }
            for (int64_t j = 0; j < before; j++)
                out[j] = fabsf(a[j]) >= s->x;
            for (int64_t j = before; equal && s->low && j < n; j++)
                if (fabsf(a[j]) == s->x) {
                    out[j] = 1;
                    s->low--;
                    equal--;
                }
            break;
        }
        BINARY(ADD, float, BLOCK(s->out), p + q)
        BINARY(SUB, float, BLOCK(s->out), p - q)
        BINARY(MUL, float, BLOCK(s->out), p * q)
        BINARY(DIV, float, BLOCK(s->out), p / q)
        BINARY(LT, uint8_t, MASK(s->out), p < q)
        BINARY(LE, uint8_t, MASK(s->out), p <= q)
        BINARY(EQ, uint8_t, MASK(s->out), p == q)
        UNARY(NEG, -p)
        UNARY(ABS, fabsf(p))
        UNARY(SIGN, (float)((p > 0) - (p < 0)))
        UNARY(SQRT, sqrtf(p))
        case AND: {
            const uint8_t *p = MASK(s->a), *q = MASK(s->b);
            uint8_t *out = MASK(s->out);
            EACH out[j] = p[j] & q[j];
            break;
        }
        case OR: {
            const uint8_t *p = MASK(s->a), *q = MASK(s->b);
            uint8_t *out = MASK(s->out);
            EACH out[j] = p[j] | q[j];
            break;
        }
        case NOT: {
            const uint8_t *p = MASK(s->a);
            uint8_t *out = MASK(s->out);
            EACH out[j] = !p[j];
            break;
        }
        case DOT:
        case TOTAL: {
            double *row = pass->rows + s->out * STRIP;
            int64_t place = at % UNIT;
            add_row(BLOCK(s->a), s->op == DOT ? BLOCK(s->b) : 0, n, !place, row);
            if (place == UNIT - STRIP || at + n == count)
                end_unit(row, place == UNIT - STRIP, pass->sums[s->out] + at / UNIT * LANES);
            break;
        }
        }
    }
}

/* Counts the magnitudes of a unit, as bits: above `high`, at `high`, at `middle`, at `low`, not 0;
   others between low and high are put into `inside`, and counted last. */
static int64_t bracket_unit(const int32_t *restrict bits, int64_t n, int32_t low, int32_t middle,
                            int32_t high, int64_t *restrict counts, int32_t *restrict inside)
{
    int64_t found = 0;
    memset(counts, 0, 6 * sizeof *counts);
    for (int64_t at = 0; at < n; at += STRIP) {
        int64_t m = n - at < STRIP ? n - at : STRIP;
        int32_t above = 0, at_high = 0, at_middle = 0, at_low = 0, some = 0;
        uint8_t between[STRIP] __attribute__((aligned(8)));
        if (m < STRIP)
            memset(between, 0, sizeof between);
        for (int64_t j = 0; j < m; j++) {
            int32_t x = bits[at + j] & 0x7FFFFFFF;
            above += x > high;
            at_high += x == high;
            at_middle += x == middle;
            at_low += x == low;
            some += x != 0;
            between[j] = (x > low) & (x < high) & (x != middle);
        }
        counts[0] += above;
        counts[1] += at_high;
        counts[2] += at_middle;
        counts[3] += at_low;
        counts[4] += some;
        for (int64_t j = 0; j < STRIP; j += 8) {
            uint64_t eight;
            memcpy(&eight, between + j, 8);
            for (; eight; eight &= eight - 1)
                inside[found++] = bits[at + j + __builtin_ctzll(eight) / 8] & 0x7FFFFFFF;
        }
    }
    return counts[5] = found;
}

/* Does so for each unit of a block, one behind the other. */
void bracket(const int32_t *bits, int64_t n, int64_t unit, int32_t low, int32_t middle,
             int32_t high, int64_t *counts, int32_t *inside)
{
    for (int64_t at = 0; at < n; at += unit, counts += 6)
        inside += bracket_unit(bits + at, n - at < unit ? n - at : unit, low, middle, high, counts,
                               inside);
}

/* Elements of stored float16. */
void widen_half(const uint16_t *from, int64_t n, float *out)
{
    load_half(from, n, out);
}

/* What rows are looked at goes through all steps in pieces of about as many elements, whole rows. */
#define PIECE 16384

/* Fills the buffer of a load with elements `first` to `first + n` of its tensor; 0 if it cannot. */
static int fetch(struct pass *pass, int64_t load, uint64_t first, int64_t n)
{
    char *into = (char *)pass->loads[load];
    int64_t at = pass->offsets[load] + 2 * (int64_t)first, end = at + 2 * n;
    while (at < end) {
        ssize_t got = pread(pass->files[load], into, end - at, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            pass->failed = at;
            pass->error = got ? errno : 0;
            return 0;
        }
        into += got;
        at += got;
    }
    return 1;
}

/* Elements `start` to `start + count` of a tensor: `start` is even, and where there are sums a
   multiple of UNIT. A step that looks at rows waits until those before have been done for them.
   Gives the number of a load that could not be read, or -1. */
int64_t run(struct pass *pass, uint64_t start, int64_t count)
{
    int64_t steps = pass->count_of_steps, piece = READ;
    for (int64_t i = 0; i < steps; i++)
        if (pass->steps[i].op == RANK) {
            int64_t width = pass->steps[i].low, rows = width < PIECE ? PIECE / width : 1;
            piece = (rows + rows % 2) * width;  /* even */
        }
    int64_t ahead = piece < READ ? READ / piece * piece : piece, had = 0;
    for (int64_t from = 0; from < count; from += piece) {
        int64_t to = count - from < piece ? count : from + piece;
        if (from == had) {
            had = count - from < ahead ? count : from + ahead;
            pass->read = from;
            for (int64_t i = 0; i < pass->count_of_loads; i++)
                if (!fetch(pass, i, start + from, had - from))
                    return i;
        }
        for (int64_t first = 0, last; first < steps; first = last + 1) {
            for (last = first; last < steps && pass->steps[last].op != RANK; last++)
                ;
            int64_t at = from;
            for (; pass->count_of_vectors && to - at >= UNIT; at += UNIT)
                dots(pass, at);
            for (; at < to; at += STRIP)
                strip(pass, first, last, start, at, to - at < STRIP ? to - at : STRIP, to);
            if (last == steps)
                break;
            const struct step *s = pass->steps + last;
            for (int64_t at = from; at < to; at += (int64_t)s->low)
                if (!rank_few(pass->blocks[s->a] + at, s->low, pass->scratch,
                              pass->blocks[s->out] + at))
                    rank_many(pass->blocks[s->a] + at, s->low, pass->scratch,
                              pass->blocks[s->out] + at);
        }
    }
    return -1;
}
