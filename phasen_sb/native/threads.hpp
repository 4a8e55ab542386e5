// Work that threads share.
#pragma once

#include <cstdint>
#include <thread>
#include <vector>

namespace phasen {

// Divides items among threads, the calling one among them. Calls with the
// thread's number and its first and last item.
template <class Work>
inline void divide(std::int64_t count, std::int64_t threads,
                   const Work& work) {
  std::vector<std::thread> others;
  for (std::int64_t n = 1; n < threads; n++)
    others.emplace_back(work, n, count * n / threads,
                        count * (n + 1) / threads);
  work(0, 0, count / threads);
  for (std::thread& other : others) other.join();
}

}  // namespace phasen
