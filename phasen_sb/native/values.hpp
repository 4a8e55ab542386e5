// Functions of vectors.
#pragma once

#include <initializer_list>
#include <type_traits>

#include "vectors.hpp"

namespace phasen {

// Calls with the start and the mask of each vector of so many values. Masks of
// whole vectors are constants, so that their code has no branches.
template <class Work>
inline void each_vector(int64_t count, const Work& work) {
  int64_t n = 0;
  for (; n + WIDTH <= count; n += WIDTH)
    work(n, std::integral_constant<Mask, ALL>());
  if (n < count) work(n, first(count - n));
}

inline Vector relu(Vector x) { return larger(zeros(), x); }

// exp(x), of a relative error below 3e-7 where x is not clamped.
inline Vector exponential(Vector x) {
  x = smaller(set(88), x);
  x = larger(set(-87), x);
  const Vector n = nearest(x * set(1.44269504f));
  // ln 2 in two parts: n times the first is exact.
  Vector r = subtract_product(x, n, set(0.693359375f));
  r = subtract_product(r, n, set(-2.12194440e-4f));
  Vector y = set(1 / 720.f);
  for (const float c : {1 / 120.f, 1 / 24.f, 1 / 6.f, 0.5f, 1.f, 1.f})
    y = multiply_add(y, r, set(c));
  return times_power_of_two(y, n);
}

template <typename T>
Vector sigmoid(Vector x) {
  return reciprocal<T>(set(1) + exponential(zeros() - x));
}

// Its absolute error is that of the precision, its relative error is not.
template <typename T>
Vector hyperbolic_tangent(Vector x) {
  return sigmoid<T>(x + x) * set(2) - set(1);
}

}  // namespace phasen
