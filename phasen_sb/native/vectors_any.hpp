// Vectors in fp32 by the vector extensions of GCC and Clang.
//
// Compile it with -ffp-contract=fast, so that x * y + z is one instruction.
#pragma once

#include <cmath>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#ifndef __has_builtin  // before GCC 10
#define __has_builtin(name) 0
#endif

namespace phasen {

#ifdef __AVX2__
constexpr int WIDTH = 8;
#else
constexpr int WIDTH = 4;
#endif

typedef float Vector __attribute__((vector_size(4 * WIDTH)));
typedef std::int32_t Integers __attribute__((vector_size(4 * WIDTH)));

using Mask = int;  // so many of the first places
constexpr Mask ALL = WIDTH;

inline Mask first(int64_t count) {
  return count >= WIDTH ? WIDTH : count < 0 ? 0 : count;
}

inline Vector zeros() { return Vector{}; }
inline Vector set(float x) { return x - Vector{}; }

#ifdef __AVX2__
inline __m256i first_places(Mask mask) {
  const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(mask), places);
}
#endif

inline Vector load(const float* p, Mask mask = ALL) {
  Vector x;
  if (mask == ALL) {
    std::memcpy(&x, p, sizeof x);
    return x;
  }
#ifdef __AVX2__
  return _mm256_maskload_ps(p, first_places(mask));
#else
  x = zeros();
  for (int i = 0; i < mask; i++) x[i] = p[i];
  return x;
#endif
}

inline void store(float* p, Vector x, Mask mask = ALL) {
  if (mask == ALL)
    std::memcpy(p, &x, sizeof x);
  else if (mask == WIDTH / 2)  // often so, and slower by a loop
    std::memcpy(p, &x, sizeof x / 2);
  else
    for (int i = 0; i < mask; i++) p[i] = x[i];
}

template <typename T>
Vector repeat(const T* p) {
  return set(*p);
}

template <typename T>
Vector load_operand(const T* p) {
  return load(p);
}

template <typename T = float>
Vector multiply_add(Vector x, Vector y, Vector sum) {
  return x * y + sum;
}

inline Vector subtract_product(Vector sum, Vector x, Vector y) {
  return sum - x * y;
}

// These comparisons return the second operand where one is NaN.
inline Vector larger(Vector x, Vector y) { return x > y ? x : y; }
inline Vector smaller(Vector x, Vector y) { return x < y ? x : y; }

// x where z > 0, and where z is NaN; zero elsewhere.
inline Vector where_positive(Vector z, Vector x) {
  return z <= zeros() ? zeros() : x;
}

// Of |x| < 2^22: what is added leaves no bits for fractions.
inline Vector nearest(Vector x) {
  const Vector large = set(12582912);
  return (x + large) - large;
}

// x * 2^n of a whole n from -126 to 127.
inline Vector times_power_of_two(Vector x, Vector n) {
  const Integers bits = (__builtin_convertvector(n, Integers) + 127) << 23;
  return x * (Vector)bits;
}

template <typename T>
Vector reciprocal(Vector x) {
  return 1 / x;
}

inline float sum_of(Vector x) {
  float sum = 0;
  for (int i = 0; i < WIDTH; i++) sum += x[i];
  return sum;
}

typedef std::uint8_t Bytes __attribute__((vector_size(16)));
typedef std::uint32_t Words __attribute__((vector_size(16)));

// Rounds values to 24-bit floats, the upper three bytes of fp32.
inline void to_float24(const float* x, char* y, int64_t count) {
#if __has_builtin(__builtin_shufflevector)
  // Of 16 bytes the last four are overwritten by the next values.
  for (; count >= 6; count -= 4, x += 4, y += 12) {
    Words bits;
    std::memcpy(&bits, x, 16);
    const Bytes all = (Bytes)(bits + 128);
    const Bytes upper =
        __builtin_shufflevector(all, all, 1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14,
                                15, 0, 0, 0, 0);
    std::memcpy(y, &upper, 16);
  }
#endif
  for (int64_t n = 0; n < count; n++, y += 3) {
    std::uint32_t bits;
    std::memcpy(&bits, x + n, 4);
    bits = (bits + 128) >> 8;
    std::memcpy(y, &bits, 3);
  }
}

// 24-bit floats to fp32.
inline void from_float24(const char* x, float* y, int64_t count) {
#if __has_builtin(__builtin_shufflevector)
  for (; count >= 6; count -= 4, x += 12, y += 4) {
    Bytes all;
    std::memcpy(&all, x, 16);
    const Bytes apart =
        __builtin_shufflevector(all, Bytes{}, 16, 0, 1, 2, 16, 3, 4, 5, 16, 6,
                                7, 8, 16, 9, 10, 11);
    std::memcpy(y, &apart, 16);
  }
#endif
  for (int64_t n = 0; n < count; n++, x += 3) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, x, 3);
    bits <<= 8;
    std::memcpy(y + n, &bits, 4);
  }
}

}  // namespace phasen
