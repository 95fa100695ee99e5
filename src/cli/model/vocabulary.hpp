// A small vocabulary for made models: every byte, a few merges and the usual marks, so that any
// text can be tokenised.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cubby_cli::model {

struct vocabulary {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;       // 1 ordinary, 3 control
  std::vector<std::string> merges;  // "left right"
  uint32_t end_of_text = 0, start_of_turn = 0, end_of_turn = 0;
};

vocabulary small_vocabulary();

}  // namespace cubby_cli::model
