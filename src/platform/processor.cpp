#include "platform/processor.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace cubby::platform {

std::string processor_name() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name") || line.starts_with("Model"))
      return line.substr(std::min(line.size(), line.find(':') + 2));
  return "unknown";
}

double memory_bytes() {
  return static_cast<double>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<double>(::sysconf(_SC_PAGE_SIZE));
}

}  // namespace cubby::platform
