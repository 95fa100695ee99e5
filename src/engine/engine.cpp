#include "engine/engine.hpp"

namespace cubby::engine {

parts::~parts() {
  for (uint32_t i = 0; i < requests.size(); ++i) requests[i].verb = {};  // seals close their files
  for (const auto &bank : state.banks.owned()) {
    files.close_all(*bank);
  }
}

}  // namespace cubby::engine
