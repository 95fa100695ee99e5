// What the environment asks for. docs/llama_cpp.md lists the variables; this is the one place that
// reads them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cubby_ggml {

struct settings {
  uint64_t host_budget_bytes = 0;                // of the frames
  std::string policy;                            // "" = the runtime's own choice
  std::vector<std::string> copies;               // of models, on other devices
  bool summary = true;                           // at exit
  uint64_t table_bytes_min = uint64_t{1} << 30;  // smaller tables of rows stay with llama.cpp
  bool look_ahead = true;                        // experts of the next layer are forecast
  uint32_t publish_ms = 1000;                    // for `cubby top`; 0 = not shown

  /// From the environment; a value that cannot be read is named on stderr, and its default holds.
  static settings from_environment();
};

/// "12GiB", "800MiB", "12g", "4096": powers of 1024. Nothing when it is none of these.
std::optional<uint64_t> byte_count(std::string_view text);
/// Memory that this process may have in all, beside what others hold: `held_bytes` are its own.
uint64_t room_bytes(uint64_t held_bytes);
/// "1.25 GiB"
std::string bytes_text(uint64_t bytes);
/// One line on stderr, "cubby: …".
void say(const std::string &line);

}  // namespace cubby_ggml
