// A bidirectional LSTM, frame after frame, both directions at once.
#pragma once

#include <algorithm>
#include <vector>

#include "values.hpp"

namespace phasen {

// A block is 16 units, whose gates i, f, g, o are adjacent: 64 columns. A group
// is BLOCKS blocks. The sums of HELD blocks fit into registers.
constexpr int BLOCKS = 4;
constexpr int GATES = 4;
constexpr int COLUMNS = BLOCKS * GATES * LINE;  // of a group
constexpr int HELD = WIDTH == LINE ? BLOCKS : 1;
constexpr int SUMS = HELD * GATES * LINE_VECTORS;

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
  const int64_t size = padded(t.units, BLOCKS * LINE);
  const int64_t groups = size / (BLOCKS * LINE);
  const int64_t depth = padded(t.units, PAIR<T>);
  const int64_t columns = groups * COLUMNS;
  const float* bias = t.bias + direction * columns;
  const T* weights = t.weight + direction * depth * columns;
  float* cells = t.cells + direction * size;
  T* state = t.state + direction * size;
  std::vector<T> after(size);
  for (int64_t step = 0; step < t.frames; step++) {
    const int64_t frame = direction ? t.frames - 1 - step : step;
    const T* input = t.input[direction] + frame * columns;
    T* y = t.y[direction] + frame * t.y_row;
    for (int64_t block = 0; block < groups * BLOCKS; block += HELD) {
      const int64_t column = block * GATES * LINE;
      Vector sum[SUMS];
#pragma GCC unroll 16
      for (int n = 0; n < SUMS; n++)
        sum[n] = load(input + column + n * WIDTH) +
                 load(bias + column + n * WIDTH);
      const T* weight = weights + block / BLOCKS * depth * COLUMNS +
                        column % COLUMNS * PAIR<T>;
      for (int64_t k = 0; k < depth; k += PAIR<T>) {
        const Vector h = repeat(state + k);
#pragma GCC unroll 16
        for (int n = 0; n < SUMS; n++)
          sum[n] = multiply_add<T>(
              h, load_operand(weight + n * WIDTH * PAIR<T>), sum[n]);
        weight += COLUMNS * PAIR<T>;
      }
      for (int n = 0; n < HELD * LINE_VECTORS; n++) {
        const Vector* gate =
            sum + n / LINE_VECTORS * GATES * LINE_VECTORS + n % LINE_VECTORS;
        const auto of = [&](int i) { return gate[i * LINE_VECTORS]; };
        const int64_t unit = block * LINE + n * WIDTH;
        const Vector cell = multiply_add(
            sigmoid<T>(of(1)), load(cells + unit),
            sigmoid<T>(of(0)) * hyperbolic_tangent<T>(of(2)));
        const Vector h = sigmoid<T>(of(3)) * hyperbolic_tangent<T>(cell);
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
