// Which of a model's bytes are routed experts, lookup tables, and everything else.
#pragma once

#include "cli/plan/read/model_facts.hpp"

namespace cubby_cli::plan {

/// Bytes and types of the tensors, and the vocabulary where nothing else tells it.
void add_tensors(const model_header &from, model_facts &to);

}  // namespace cubby_cli::plan
