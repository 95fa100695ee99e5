// Options that say the same thing twice, or nothing beside others: refused, as an answer that
// leaves out what was asked is a wrong one.
#pragma once

#include "cli/outcome.hpp"
#include "cli/plan/read/words.hpp"

namespace cubby_cli::plan {

/// Of a plan for a model.
done check_words(const plan_words &words);
/// Of experts, where the model has none.
done check_experts(const plan_words &words, const model_shape &of);
/// Of a plan for a recording of KV blocks.
done check_kv_words(const plan_words &words);

}  // namespace cubby_cli::plan
