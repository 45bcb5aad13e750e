// Philox4x32-10: random bits as a pure function of counter and key (Salmon, Moraes, Dror, Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011; C++11, host and device). Nothing is kept between calls: any draw, on any
// machine, after any restart, is the same.
#ifndef LRPOLICY_PHILOX_HPP_
#define LRPOLICY_PHILOX_HPP_

#include <lrpolicy/platform.hpp>

namespace lrpolicy {

struct PhiloxCounter {
  std::uint32_t word[4];
};

struct PhiloxKey {
  std::uint32_t word[2];
};

// One round: two products of 32 by 32 bits, their halves crossed and mixed with the key.
LRPOLICY_FUNCTION PhiloxCounter philox_round(PhiloxCounter c, PhiloxKey k) {
  const std::uint64_t first = std::uint64_t{0xD2511F53} * c.word[0];
  const std::uint64_t second = std::uint64_t{0xCD9E8D57} * c.word[2];
  return {{static_cast<std::uint32_t>(second >> 32) ^ c.word[1] ^ k.word[0], static_cast<std::uint32_t>(second),
           static_cast<std::uint32_t>(first >> 32) ^ c.word[3] ^ k.word[1], static_cast<std::uint32_t>(first)}};
}

// Ten rounds; between rounds the key advances by the golden ratio and by sqrt(3) - 1, in units of 2^-32.
LRPOLICY_FUNCTION PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    counter = philox_round(counter, key);
    key.word[0] += 0x9E3779B9;
    key.word[1] += 0xBB67AE85;
  }
  return counter;
}

}  // namespace lrpolicy

#endif  // LRPOLICY_PHILOX_HPP_
