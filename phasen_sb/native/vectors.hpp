// Vectors of floats, as wide as the instruction set that this is compiled for.
//
// AVX-512 has masks, and numbers in bf16 with AVX512-BF16: vectors_avx512.hpp.
// For all others (AVX2 with FMA, NEON, and whatever else a compiler knows) the
// vector extensions of GCC and Clang serve, in vectors_any.hpp: +, - and * are
// those of the language, a product and a sum become one instruction.
#pragma once

#include <cstdint>
#include <cstring>

namespace phasen {

using bf16 = std::uint16_t;
using std::int64_t;

// Floats of a cache line. Columns of matrices are padded to it for every CPU, so
// that all read the same layout.
constexpr int LINE = 16;

// Adjacent values of k in a product's right side.
template <typename T>
constexpr int PAIR = 4 / sizeof(T);

inline int64_t padded(int64_t count, int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

}  // namespace phasen

#ifdef __AVX512F__
#include "vectors_avx512.hpp"
#else
#include "vectors_any.hpp"
#endif

namespace phasen {

constexpr int LINE_VECTORS = LINE / WIDTH;

}  // namespace phasen
