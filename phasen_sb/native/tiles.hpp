// Products by the tiles of AMX, in bf16.
#pragma once

#include "engines.hpp"

namespace phasen {

// Tiles of 16 x 32 bf16 (AMX): 16 or 32 rows of up to 48 columns.
struct Tiles {
  using Value = bf16;
  static constexpr int GRAIN = 32;

  static void begin() {
    // Static: the compiler does not know that all of it is read.
    alignas(64) static const struct {
      std::uint8_t palette = 1, start = 0, reserved[14] = {};
      std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } shape;
    _tile_loadconfig(&shape);
  }
  static void end() { _tile_release(); }

  template <int BLOCKS, int LINES>
  static void accumulate(const Tap<bf16>* taps, int count, const Depth& depth,
                         int64_t columns, float* out) {
    _tile_zero(0);
    if constexpr (LINES > 1) _tile_zero(1);
    if constexpr (LINES > 2) _tile_zero(2);
    if constexpr (BLOCKS > 1) {
      _tile_zero(3);
      if constexpr (LINES > 1) _tile_zero(4);
      if constexpr (LINES > 2) _tile_zero(5);
    }
    // The compiler does not know that tiles are read from memory.
    asm volatile("" ::: "memory");
    const int64_t b_row = 4 * columns;
    for (int tap = 0; tap < count; tap++) {
      const bf16* a = taps[tap].a;
      const bf16* b = taps[tap].b;
      const bf16* under = a + 16 * taps[tap].a_row;
      const int64_t a_row = 2 * taps[tap].a_row;
      for (int64_t k = 0; k < depth.size; k += GRAIN, b += GRAIN * columns) {
        _tile_loadd(6, a + k, a_row);
        _tile_loadd(7, b, b_row);
        _tile_dpbf16ps(0, 6, 7);
        if constexpr (LINES > 1) {
          _tile_loadd(7, b + 32, b_row);
          _tile_dpbf16ps(1, 6, 7);
        }
        if constexpr (LINES > 2) {
          _tile_loadd(7, b + 64, b_row);
          _tile_dpbf16ps(2, 6, 7);
        }
        if constexpr (BLOCKS > 1) {
          _tile_loadd(6, under + k, a_row);
          if constexpr (LINES > 2) {
            _tile_dpbf16ps(5, 6, 7);
            _tile_loadd(7, b + 32, b_row);
          }
          if constexpr (LINES > 1) {
            _tile_dpbf16ps(4, 6, 7);
            _tile_loadd(7, b, b_row);
          }
          _tile_dpbf16ps(3, 6, 7);
        }
      }
    }
    constexpr int row = 4 * MOST_COLUMNS;
    _tile_stored(0, out, row);
    if constexpr (LINES > 1) _tile_stored(1, out + 16, row);
    if constexpr (LINES > 2) _tile_stored(2, out + 32, row);
    if constexpr (BLOCKS > 1) {
      float* lower = out + 16 * MOST_COLUMNS;
      _tile_stored(3, lower, row);
      if constexpr (LINES > 1) _tile_stored(4, lower + 16, row);
      if constexpr (LINES > 2) _tile_stored(5, lower + 32, row);
    }
  }

  // Columns and rows of the next block, if so many are left.
  static int columns(int64_t left) {
    return left > 32 ? 48 : left > 16 ? 32 : 16;
  }
  static int rows(int64_t left, int) { return left > 16 ? 32 : 16; }

  static void block(const Tap<bf16>* taps, int count, const Depth& depth,
                    int64_t columns, int64_t, int block_columns, int rows,
                    float* out) {
    if (rows == 16) switch (block_columns) {
        case 16: return accumulate<1, 1>(taps, count, depth, columns, out);
        case 32: return accumulate<1, 2>(taps, count, depth, columns, out);
        default: return accumulate<1, 3>(taps, count, depth, columns, out);
      }
    switch (block_columns) {
      case 16: return accumulate<2, 1>(taps, count, depth, columns, out);
      case 32: return accumulate<2, 2>(taps, count, depth, columns, out);
      default: return accumulate<2, 3>(taps, count, depth, columns, out);
    }
  }
};

}  // namespace phasen
