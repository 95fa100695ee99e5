// Small traces by dice, for tests that need any.
#pragma once

#include <cstdint>
#include <random>
#include <string>

/// CSV: tokens of four layers, each with one of eight experts that all layers use alike, and one of
/// `spread(layer)` others from the eighth on.
template <class Spread>
std::string made_up_experts(int tokens, const Spread &spread) {
  std::mt19937 dice(7);
  std::string text = "token,layer,experts\n";
  for (int token = 0; token < tokens; ++token)
    for (int layer = 0; layer < 4; ++layer) {
      const auto one = dice() % 8, other = 8 + dice() % static_cast<uint32_t>(spread(layer));
      text += std::to_string(token) + "," + std::to_string(layer) + "," + std::to_string(one) +
              " " + std::to_string(other) + "\n";
    }
  return text;
}

/// Requests of blocks as JSON lines, with one of six prefixes.
inline std::string made_up_blocks(int requests) {
  std::mt19937 dice(7);
  std::string text;
  for (int request = 0; request < requests; ++request) {
    const auto prefix = dice() % 6;
    text += "{\"timestamp\":" + std::to_string(request * 500) + ",\"hash_ids\":[";
    for (uint64_t i = 0; i < 3 + prefix; ++i) text += std::to_string(prefix * 100 + i) + ",";
    text += std::to_string(10000 + dice() % 50) + "]}\n";
  }
  return text;
}
