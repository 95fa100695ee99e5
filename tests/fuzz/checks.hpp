// The promise that a model that is accepted leads nowhere outside its files, and that a refusal is
// a sentence.
#pragma once

#include "fuzz/input.hpp"
#include "store/model_file.hpp"

namespace fuzz {

/// Every part of every locker lies inside its file, and tables of digests can be made.
void check_model(const cubby::store::model_file &model);

/// A refusal says what, where and why.
void check_refusal(const cubby::error &failure);

}  // namespace fuzz
