// The error of a thread that cannot be had: one status and one sentence, whoever wanted it.
#pragma once

#include <string>

#include "base/result.hpp"

namespace cubby::base {

/// By the errno of pthread_create: NO_MEMORY. `what`: names the thread, for the sentence.
/// `instead`: what else would do, behind the limits to raise.
error no_thread(int native, const std::string &what, const char *instead = "");

}  // namespace cubby::base
