// Policies by name, or by the path of a shared library.
#pragma once

#include <cubby/policy.h>

#include <string>

#include "base/result.hpp"

namespace cubby::api {

/// Loaded and held against policy.h; it stays loaded.
result<const cubby_policy_ops *> load_policy(const std::string &path);
/// What cubby_config.policy names.
result<const cubby_policy_ops *> named_policy(const std::string &name);

}  // namespace cubby::api
