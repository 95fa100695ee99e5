// What two machines can be known apart by: the processor and how much memory there is.
#pragma once

#include <string>

namespace cubby::platform {

/// As the kernel calls it; "unknown" where it does not.
std::string processor_name();

/// Of the whole machine.
double memory_bytes();

}  // namespace cubby::platform
