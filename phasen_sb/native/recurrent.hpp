// One direction of an LSTM, frame after frame.
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
  const T* input;     // [frames, groups, 256]
  const float* bias;  // [groups, 256]
  const T* weight;    // [groups, units / pair, 256, pair]
  T* y;               // [frames, units], y_row apart
  int64_t y_row;
  T* state;      // [padded units], from one call to the next
  float* cells;  // like state
  int64_t frames, units;
  bool backward;  // from the last frame to the first
};

template <typename T>
void recur(const Recurrence<T>& t) {
  const int64_t size = padded(t.units, BLOCKS * LINE);
  const int64_t groups = size / (BLOCKS * LINE);
  const int64_t depth = padded(t.units, PAIR<T>);
  const int64_t columns = groups * COLUMNS;
  std::vector<T> after(size);
  for (int64_t step = 0; step < t.frames; step++) {
    const int64_t frame = t.backward ? t.frames - 1 - step : step;
    const T* input = t.input + frame * columns;
    T* y = t.y + frame * t.y_row;
    for (int64_t block = 0; block < groups * BLOCKS; block += HELD) {
      const int64_t column = block * GATES * LINE;
      Vector sum[SUMS];
#pragma GCC unroll 16
      for (int n = 0; n < SUMS; n++)
        sum[n] = load(input + column + n * WIDTH) +
                 load(t.bias + column + n * WIDTH);
      const T* weight = t.weight + block / BLOCKS * depth * COLUMNS +
                        column % COLUMNS * PAIR<T>;
      for (int64_t k = 0; k < depth; k += PAIR<T>) {
        const Vector h = repeat(t.state + k);
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
            sigmoid<T>(of(1)), load(t.cells + unit),
            sigmoid<T>(of(0)) * hyperbolic_tangent<T>(of(2)));
        const Vector h = sigmoid<T>(of(3)) * hyperbolic_tangent<T>(cell);
        store(t.cells + unit, cell);
        store(after.data() + unit, h);
        store(y + unit, h, first(t.units - unit));
      }
    }
    std::copy(after.begin(), after.end(), t.state);
  }
}

}  // namespace phasen
