// A bidirectional LSTM, frame after frame, both directions at once.
#pragma once

#include <algorithm>
#include <vector>

#include "values.hpp"

namespace phasen {

// A block is 16 units, whose gates i, f, g, o are adjacent: 64 columns. A group
// is BLOCKS blocks, whose sums stay in registers.
constexpr int BLOCKS = 4;
constexpr int GATES = 4;
constexpr int SUMS = BLOCKS * GATES;

template <typename T>
struct Recurrence {
  const T* input[2];  // of each direction, [frames, groups, 256]
  const float* bias;  // [2, groups, 256]
  const T* weight;    // [2, groups, units / pair, 256, pair]
  T* y[2];            // [frames, units], y_row apart
  int64_t y_row;
  T* state;      // [2, padded units], from one call to the next
  float* cells;  // like state
  int64_t frames, units;
};

// The second direction runs from the last frame to the first.
template <typename T>
void run_direction(const Recurrence<T>& t, int direction) {
  const int64_t size = padded(t.units, BLOCKS * WIDTH);
  const int64_t groups = size / (BLOCKS * WIDTH);
  const int64_t depth = padded(t.units, PAIR<T>);
  const int64_t columns = groups * SUMS * WIDTH;
  const float* bias = t.bias + direction * columns;
  const T* weights = t.weight + direction * depth * columns;
  float* cells = t.cells + direction * size;
  T* state = t.state + direction * size;
  std::vector<T> after(size);
  for (int64_t step = 0; step < t.frames; step++) {
    const int64_t frame = direction ? t.frames - 1 - step : step;
    const T* input = t.input[direction] + frame * columns;
    T* y = t.y[direction] + frame * t.y_row;
    const T* weight = weights;
    for (int64_t group = 0; group < groups; group++) {
      __m512 sum[SUMS];
#pragma GCC unroll 16
      for (int n = 0; n < SUMS; n++) {
        const int64_t at = (group * SUMS + n) * WIDTH;
        sum[n] = _mm512_add_ps(load(input + at), load(bias + at));
      }
      for (int64_t k = 0; k < depth; k += PAIR<T>) {
        const __m512 h = repeat(state + k);
#pragma GCC unroll 16
        for (int n = 0; n < SUMS; n++)
          sum[n] = multiply_add<T>(
              h, _mm512_loadu_ps(weight + n * WIDTH * PAIR<T>), sum[n]);
        weight += SUMS * WIDTH * PAIR<T>;
      }
      for (int block = 0; block < BLOCKS; block++) {
        const __m512* gate = sum + block * GATES;
        const int64_t unit = (group * BLOCKS + block) * WIDTH;
        const __m512 cell = _mm512_fmadd_ps(
            sigmoid<T>(gate[1]), load(cells + unit),
            _mm512_mul_ps(sigmoid<T>(gate[0]), hyperbolic_tangent<T>(gate[2])));
        const __m512 h =
            _mm512_mul_ps(sigmoid<T>(gate[3]), hyperbolic_tangent<T>(cell));
        store(cells + unit, cell);
        store(after.data() + unit, h);
        store(y + unit, h, first(t.units - unit));
      }
    }
    std::copy(after.begin(), after.end(), state);
  }
}

template <typename T>
void recur(const Recurrence<T>& t, int threads) {
#pragma omp parallel for num_threads(threads < 2 ? 1 : 2) schedule(static)
  for (int direction = 0; direction < 2; direction++)
    run_direction(t, direction);
}

}  // namespace phasen
